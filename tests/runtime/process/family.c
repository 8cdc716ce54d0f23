/* A game with descendants, for the process runtime's tests: FAMILY tells what it does.
 *
 *   child    a child binds PORT (UDP); the parent waits for it
 *   daemon   a grandchild in a session of its own binds PORT; the first process exits 0 once that is so
 *   zombies  leaves a hundred ended orphans, then binds PORT itself
 *   chatter  binds PORT, then writes CHATTER lines of 100 bytes, numbered
 *   flat     binds 4000 whatever PORT says; exits 1 where that is taken
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int bind_port(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return bind(fd, (struct sockaddr *)&at, sizeof at);
}

static void serve(int port)
{
    if (bind_port(port)) {
        perror("bind");
        exit(1);
    }
    printf("bound %d\n", port);
    fflush(stdout);
    for (;;)
        pause();
}

int main(void)
{
    const char *mode = getenv("FAMILY");
    int port = atoi(getenv("PORT"));
    if (!strcmp(mode, "child")) {
        if (fork() == 0)
            serve(port);
        wait(NULL);
        return 0;
    }
    if (!strcmp(mode, "daemon")) {
        int fds[2];
        char byte;
        if (pipe(fds))
            return 9;
        if (fork() == 0) {
            setsid();
            if (fork())
                _exit(0);
            if (bind_port(port) || write(fds[1], "!", 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        return read(fds[0], &byte, 1) == 1 ? 0 : 8;
    }
    if (!strcmp(mode, "zombies")) {
        for (int i = 0; i < 100; i++) {
            if (fork() == 0) {
                if (fork() == 0)
                    _exit(0);
                _exit(0);
            }
            wait(NULL);
        }
        serve(port);
    }
    if (!strcmp(mode, "chatter")) {
        int count = atoi(getenv("CHATTER"));
        if (bind_port(port))
            return 1;
        for (int i = 0; i < count; i++)
            printf("%-98d.\n", i);
        fflush(stdout);
        for (;;)
            pause();
    }
    if (!strcmp(mode, "flat"))
        serve(4000);
    return 7;
}
