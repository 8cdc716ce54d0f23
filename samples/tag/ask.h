/* What a game asks the API about itself before it takes players. */
#ifndef ASK_H
#define ASK_H

/* Ask HATHORA_SERVER_URL for our own process and its rooms, and print both. Without a token in HATHORA_DEV_TOKEN
 * or HATHORA_TOKEN it says so and asks nothing. Never fails the game. */
void ask_about_ourselves(void);

#endif
