/* Tag: a small game server for trying Innkeeper, over UDP and TCP at once.
 *
 * Players stand on a board of 16 by 16 squares. The first to join is "it"; when "it" stands on a square with
 * another player, that player is "it" from then on. README.md beside this file has the protocol and the
 * variables that tests use.
 *
 * It needs no library and no file, so that its image can be built FROM scratch.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"

enum {
    BOARD = 16,
    PLAYERS_MAX = 64,
    CONNECTIONS_MAX = 256,
    LINE_MAX_BYTES = 1400, /* fits one datagram */
    LISTENERS_MAX = 4,
    DEFAULT_PORT = 7777,
    SILENT_S = 60, /* a UDP player who says nothing this long has left */
};

/* A player is known by where it talks from: an address (UDP) or a connection (TCP). */
struct player {
    int id; /* 0: free */
    int connection; /* -1: over UDP */
    struct sockaddr_storage address;
    socklen_t address_len;
    int x, y;
    time_t heard_at;
};

struct connection {
    int fd; /* -1: free */
    size_t used;
    char line[LINE_MAX_BYTES];
};

/* Where a message came from, and so where its answer goes. */
struct source {
    int fd;
    int connection; /* -1: over UDP */
    struct sockaddr_storage address;
    socklen_t address_len;
};

static struct player players[PLAYERS_MAX];
static struct connection connections[CONNECTIONS_MAX];
static int udp_sockets[LISTENERS_MAX], tcp_sockets[LISTENERS_MAX];
static int udp_count, tcp_count;
static int next_id = 1, it;

static long option(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ the game */

static int is_from(const struct player *p, const struct source *from) {
    if (!p->id || p->connection != from->connection) return 0;
    if (from->connection >= 0) return 1;
    return p->address_len == from->address_len && !memcmp(&p->address, &from->address, p->address_len);
}

static void leave(struct player *p) {
    printf("player %d left\n", p->id);
    int was_it = p->id == it;
    p->id = 0;
    if (!was_it) return;
    it = 0;
    for (int i = 0; i < PLAYERS_MAX && !it; i++) it = players[i].id;
}

static struct player *player_of(const struct source *from) {
    for (int i = 0; i < PLAYERS_MAX; i++)
        if (is_from(&players[i], from)) return &players[i];
    return NULL;
}

static struct player *join(const struct source *from) {
    struct player *p = player_of(from);
    for (int i = 0; i < PLAYERS_MAX && !p; i++) {
        if (players[i].id) continue;
        p = &players[i];
        *p = (struct player){.id = next_id++, .connection = from->connection, .address = from->address,
                             .address_len = from->address_len};
        p->x = p->y = (p->id - 1) % BOARD;
        if (!it) it = p->id;
        printf("player %d joined over %s\n", p->id, from->connection < 0 ? "UDP" : "TCP");
    }
    return p;
}

static int within(int value) { return value < 0 ? 0 : value >= BOARD ? BOARD - 1 : value; }

static void move(struct player *p, int dx, int dy) {
    /* One square at a time, whatever was asked: no player can cross the board in one message. */
    p->x = within(p->x + (dx > 0) - (dx < 0));
    p->y = within(p->y + (dy > 0) - (dy < 0));
    for (int i = 0; i < PLAYERS_MAX; i++) {
        struct player *other = &players[i];
        if (!other->id || other == p || other->x != p->x || other->y != p->y) continue;
        if (it != p->id && it != other->id) continue;
        it = it == p->id ? other->id : p->id;
        printf("player %d is it\n", it);
        return;
    }
}

/* The answer to one message, or the message itself where the first word is none of ours. */
static int answer(const struct source *from, const char *text, char *out, size_t size) {
    char word[16] = "";
    long number = 0;
    int dx = 0, dy = 0;
    int count = sscanf(text, "%15s %ld %d %d", word, &number, &dx, &dy);
    if (count == 3 && !strcmp(word, "EXIT") && option("TEST_WORDS", 0)) {
        printf("told to exit with code %d\n", dx);
        exit(dx);
    }
    int joins = !strcmp(word, "JOIN"), moves = !strcmp(word, "MOVE"), asks = !strcmp(word, "STATE");
    int leaves = !strcmp(word, "LEAVE");
    if (count < 2 || !(joins || moves || asks || leaves)) return snprintf(out, size, "%s", text);
    struct player *p = joins ? join(from) : player_of(from);
    if (!p) return snprintf(out, size, joins ? "FULL %ld" : "JOIN-FIRST %ld", number);
    p->heard_at = time(NULL);
    if (leaves) {
        leave(p);
        return snprintf(out, size, "GONE %ld", number);
    }
    if (moves) move(p, dx, dy);
    int present = 0;
    for (int i = 0; i < PLAYERS_MAX; i++) present += players[i].id != 0;
    return snprintf(out, size, "STATE %ld player %d at %d %d it %d of %d", number, p->id, p->x, p->y, it,
                    present);
}

/* ------------------------------------------------------------------ the wire */

static int open_socket(int type, int port) {
    int six = option("BIND_IPV6", 0) != 0, on = 1;
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(six ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* A TCP port must be free again at once after a restart; two UDP sockets must never share a port. */
    if (type == SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int bound = six ? bind(fd, (void *)&in6, sizeof in6) : bind(fd, (void *)&in4, sizeof in4);
    if (fd < 0 || bound < 0 || (type == SOCK_STREAM && listen(fd, 128) < 0)) {
        printf("cannot bind port %d/%s: %s\n", port, type == SOCK_STREAM ? "tcp" : "udp", strerror(errno));
        exit(2);
    }
    printf("bound port %d/%s\n", port, type == SOCK_STREAM ? "tcp" : "udp");
    return fd;
}

static void open_sockets(void) {
    int port = option("PORT", DEFAULT_PORT);
    udp_sockets[udp_count++] = open_socket(SOCK_DGRAM, port);
    tcp_sockets[tcp_count++] = open_socket(SOCK_STREAM, port);
    /* PORT says that the host's network is shared: then the additional ports have numbers of their own. */
    if (!getenv("PORT")) return;
    int tcp = option("HATHORA_TCP_PORT", port), udp = option("HATHORA_UDP_PORT", port);
    if (tcp != port) tcp_sockets[tcp_count++] = open_socket(SOCK_STREAM, tcp);
    if (udp != port) udp_sockets[udp_count++] = open_socket(SOCK_DGRAM, udp);
}

static void receive_udp(int fd) {
    char text[LINE_MAX_BYTES + 1], out[LINE_MAX_BYTES + 1];
    for (int i = 0; i < 64; i++) { /* bounded, so that TCP players are heard too */
        struct source from = {.fd = fd, .connection = -1, .address_len = sizeof from.address};
        ssize_t got = recvfrom(fd, text, LINE_MAX_BYTES, 0, (void *)&from.address, &from.address_len);
        if (got < 0) return;
        text[got] = 0;
        /* Text that is no message of ours goes back byte for byte, zeros included. */
        int length = memchr(text, 0, got) ? 0 : answer(&from, text, out, sizeof out);
        if (length > LINE_MAX_BYTES) length = LINE_MAX_BYTES;
        sendto(fd, length ? out : text, length ? length : got, 0, (void *)&from.address, from.address_len);
    }
}

static void hang_up(int index) {
    for (int i = 0; i < PLAYERS_MAX; i++)
        if (players[i].id && players[i].connection == index) leave(&players[i]);
    close(connections[index].fd);
    connections[index].fd = -1;
}

static void accept_tcp(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (connections[i].fd >= 0) continue;
        connections[i].fd = fd;
        connections[i].used = 0;
        return;
    }
    close(fd);
}

/* One line from a connection is one message; its answer is one line too. */
static void receive_tcp(int index) {
    struct connection *c = &connections[index];
    ssize_t got = recv(c->fd, c->line + c->used, sizeof c->line - c->used, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return hang_up(index);
    c->used += got;
    char *start = c->line, *end;
    while ((end = memchr(start, '\n', c->line + c->used - start))) {
        *end = 0;
        char out[LINE_MAX_BYTES + 2];
        struct source from = {.fd = c->fd, .connection = index};
        int length = answer(&from, start, out, LINE_MAX_BYTES + 1);
        if (length > LINE_MAX_BYTES) length = LINE_MAX_BYTES;
        out[length] = '\n';
        /* A client that does not read its answers is not waited for. */
        if (send(c->fd, out, length + 1, MSG_NOSIGNAL) != length + 1) return hang_up(index);
        start = end + 1;
    }
    c->used = c->line + c->used - start;
    memmove(c->line, start, c->used);
    if (c->used == sizeof c->line) hang_up(index);
}

static void forget_the_silent(void) {
    time_t now = time(NULL);
    for (int i = 0; i < PLAYERS_MAX; i++) {
        struct player *p = &players[i];
        if (p->id && p->connection < 0 && now - p->heard_at > SILENT_S) leave(p);
    }
}

/* ------------------------------------------------------------------ the loop */

static void stop_if_told(int signals) {
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == sizeof info) {
        if (option("IGNORE_TERM", 0)) {
            printf("ignoring signal %d\n", info.ssi_signo);
            continue;
        }
        printf("stopping on signal %d\n", info.ssi_signo);
        exit(0);
    }
}

static void play(int signals, long long crash_at) {
    struct pollfd polled[1 + 2 * LISTENERS_MAX + CONNECTIONS_MAX];
    for (;;) {
        int count = 0, index[CONNECTIONS_MAX], first;
        polled[count++] = (struct pollfd){.fd = signals, .events = POLLIN};
        for (int i = 0; i < udp_count; i++) polled[count++] = (struct pollfd){udp_sockets[i], POLLIN, 0};
        for (int i = 0; i < tcp_count; i++) polled[count++] = (struct pollfd){tcp_sockets[i], POLLIN, 0};
        first = count;
        for (int i = 0; i < CONNECTIONS_MAX; i++) {
            if (connections[i].fd < 0) continue;
            index[count - first] = i;
            polled[count++] = (struct pollfd){connections[i].fd, POLLIN, 0};
        }
        long long wait = crash_at ? crash_at - now_ms() : 1000;
        poll(polled, count, wait < 0 ? 0 : wait > 1000 ? 1000 : (int)wait);
        if (crash_at && now_ms() >= crash_at) return;
        stop_if_told(signals);
        for (int i = 0; i < udp_count; i++)
            if (polled[1 + i].revents) receive_udp(udp_sockets[i]);
        for (int i = first; i < count; i++)
            if (polled[i].revents) receive_tcp(index[i - first]);
        for (int i = 0; i < tcp_count; i++)
            if (polled[1 + udp_count + i].revents) accept_tcp(tcp_sockets[i]);
        forget_the_silent();
    }
}

static void eat_memory(long megabytes) {
    /* Touched page by page, or the kernel would not count it. */
    size_t size = (size_t)megabytes << 20;
    volatile char *memory = megabytes > 0 ? malloc(size) : NULL;
    for (size_t at = 0; memory && at < size; at += 4096) memory[at] = 1;
    if (memory) printf("took %ld MB\n", megabytes);
}

static void burn_cpu(long milliseconds) {
    struct timespec used = {0};
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < milliseconds) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
}

static int watch_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void wait_ms(int signals, long ms) {
    struct pollfd polled = {.fd = signals, .events = POLLIN};
    for (long long until = now_ms() + ms; now_ms() < until;) {
        poll(&polled, 1, (int)(until - now_ms()));
        stop_if_told(signals);
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int signals = watch_signals();
    for (int i = 0; i < CONNECTIONS_MAX; i++) connections[i].fd = -1;
    const char *process = getenv("HATHORA_PROCESS_ID");
    printf("tag: process %s\n", process ? process : "(none)");
    if (getenv("EXIT_CODE") && !getenv("CRASH_AFTER")) return option("EXIT_CODE", 0);
    ask_about_ourselves();
    burn_cpu(option("BURN_CPU_MS", 0));
    wait_ms(signals, option("BIND_DELAY_MS", 0));
    if (option("NEVER_BIND", 0))
        for (;;) wait_ms(signals, 60000);
    open_sockets();
    for (long i = 1; i <= option("PRINT_LINES", 0); i++) printf("line %ld\n", i);
    eat_memory(option("EAT_MEMORY", 0));
    long crash_after = option("CRASH_AFTER", -1);
    play(signals, crash_after < 0 ? 0 : now_ms() + crash_after + !crash_after);
    printf("ending as told by CRASH_AFTER\n");
    if (getenv("EXIT_CODE")) return option("EXIT_CODE", 0);
    abort();
}
