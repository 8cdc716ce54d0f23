/* A tiny game for the runtime suites: what it does is told by its environment.
 *
 *   PROBE_PORTS   "tcp:7777,udp:7778": ports to bind; each echoes what it gets
 *   PROBE_MODE    serve (default) | never (binds nothing) | exit | signal | eat | spill |
 *                 burn (CPU time, then serves)
 *   PROBE_VALUE   the exit code, the signal, milliseconds to burn, or unused
 *   PROBE_DELAY_MS  pause before binding
 *   PROBE_LINES   how many lines to print first
 *   PROBE_CALL    if set: GET HATHORA_SERVER_URL before binding, print the status line
 *
 * SIGTERM: prints "goodbye", exits 0.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS 64

extern char **environ;
static struct pollfd fds[SOCKETS];
static int kinds[SOCKETS]; /* 0 listener, 1 udp, 2 connection */
static int count;

static void on_term(int sig)
{
    (void)sig;
    if (write(1, "goodbye\n", 8) < 0)
        _exit(1);
    _exit(0);
}

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static void add(int fd, int kind)
{
    if (count == SOCKETS) {
        close(fd);
        return;
    }
    fds[count].fd = fd;
    fds[count].events = POLLIN;
    kinds[count++] = kind;
}

static void bind_port(int udp, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || (!udp && listen(fd, 64))) {
        printf("cannot bind %d: %s\n", port, strerror(errno));
        exit(98);
    }
    add(fd, udp);
}

static void call_home(void)
{
    char host[64] = "", answer[256] = "";
    int port = 80, fd = socket(AF_INET, SOCK_STREAM, 0);
    sscanf(setting("HATHORA_SERVER_URL", ""), "http://%63[^:/]:%d", host, &port);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        printf("call failed: %s\n", strerror(errno));
        return;
    }
    dprintf(fd, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", host);
    if (read(fd, answer, sizeof answer - 1) > 0)
        printf("call answered: %s\n", strtok(answer, "\r\n"));
    close(fd);
}

static void spill(void)
{
    static char block[1 << 20];
    char name[32];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "/spill-%d", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        for (int j = 0; j < 64; j++)
            if (write(fd, block, sizeof block) < 0)
                printf("write failed: %s\n", strerror(errno));
        close(fd);
    }
}

static void burn(int milliseconds)
{
    struct timespec used;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < milliseconds);
}

static void serve(void)
{
    char data[2048], ports[512];
    snprintf(ports, sizeof ports, "%s", setting("PROBE_PORTS", ""));
    for (char *one = strtok(ports, ","); one; one = strtok(NULL, ","))
        bind_port(!strncmp(one, "udp:", 4), atoi(one + 4));
    printf("ready\n");
    for (;;) {
        poll(fds, count, -1);
        for (int i = 0; i < count; i++) {
            if (!fds[i].revents)
                continue;
            if (kinds[i] == 0) {
                add(accept(fds[i].fd, NULL, NULL), 2);
            } else if (kinds[i] == 1) {
                struct sockaddr_in from;
                socklen_t size = sizeof from;
                ssize_t n = recvfrom(fds[i].fd, data, sizeof data, 0, (void *)&from, &size);
                if (n >= 0)
                    sendto(fds[i].fd, data, n, 0, (void *)&from, size);
            } else {
                ssize_t n = read(fds[i].fd, data, sizeof data);
                if (n <= 0 || write(fds[i].fd, data, n) < 0) {
                    close(fds[i].fd);
                    fds[i] = fds[--count];
                    kinds[i] = kinds[count];
                }
            }
        }
    }
}

int main(void)
{
    const char *mode = setting("PROBE_MODE", "serve");
    int value = atoi(setting("PROBE_VALUE", "0")), delay = atoi(setting("PROBE_DELAY_MS", "0"));
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_term);
    signal(SIGPIPE, SIG_IGN);
    for (char **one = environ; *one; one++)
        if (!strncmp(*one, "HATHORA_", 8) || !strncmp(*one, "PORT=", 5))
            puts(*one);
    for (int i = 0, n = atoi(setting("PROBE_LINES", "0")); i < n; i++)
        printf("line %d\n", i);
    if (getenv("PROBE_CALL"))
        call_home();
    nanosleep(&(struct timespec){delay / 1000, delay % 1000 * 1000000L}, NULL);
    if (!strcmp(mode, "exit"))
        return value;
    if (!strcmp(mode, "signal")) {
        /* The first process of a pid namespace cannot kill itself but with a fault. */
        if (value == SIGSEGV)
            *(volatile int *)0 = 1;
        signal(value, SIG_DFL);
        raise(value);
    }
    if (!strcmp(mode, "eat"))
        for (;;)
            memset(malloc(1 << 20), 1, 1 << 20);
    if (!strcmp(mode, "burn"))
        burn(value);
    if (!strcmp(mode, "spill"))
        spill();
    if (!strcmp(mode, "never"))
        for (;;)
            pause();
    serve();
}
