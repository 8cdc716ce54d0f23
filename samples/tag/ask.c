/* A plain HTTP GET written with sockets: enough for a game to ask about itself, and nothing more. */
#define _GNU_SOURCE
#include "ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { REPLY_MAX = 64 * 1024, TIMEOUT_S = 3, TRIES = 3 };

/* Where the API is: http://HOST:PORT/PREFIX, HOST being an address or a name in /etc/hosts. */
struct place {
    char host[256], port[8], prefix[256];
};

static int read_url(const char *url, struct place *place) {
    memset(place, 0, sizeof *place);
    strcpy(place->port, "80");
    if (strncmp(url, "http://", 7)) return 0;
    url += 7;
    int six = *url == '[';
    size_t host = strcspn(url + six, six ? "]" : ":/");
    if (host == 0 || host >= sizeof place->host) return 0;
    memcpy(place->host, url + six, host);
    url += host + 2 * six;
    if (*url == ':') {
        size_t digits = strspn(++url, "0123456789");
        if (digits == 0 || digits >= sizeof place->port) return 0;
        memcpy(place->port, url, digits);
        place->port[digits] = 0;
        url += digits;
    }
    size_t prefix = strlen(url);
    if (prefix >= sizeof place->prefix) return 0;
    strcpy(place->prefix, url);
    if (prefix && place->prefix[prefix - 1] == '/') place->prefix[prefix - 1] = 0;
    return 1;
}

/* The address of a name in /etc/hosts: a static program has no other resolver it could count on. */
static int look_up(const char *name, char *address, size_t size) {
    char line[512];
    FILE *hosts = fopen("/etc/hosts", "r");
    int found = 0;
    while (hosts && !found && fgets(line, sizeof line, hosts)) {
        line[strcspn(line, "#\n")] = 0;
        char *rest = line, *word = strsep(&rest, " \t");
        char *candidate = word;
        while (!found && (word = strsep(&rest, " \t"))) found = !strcasecmp(word, name);
        if (found) snprintf(address, size, "%s", candidate);
    }
    if (hosts) fclose(hosts);
    return found;
}

static int connect_to(const struct place *place) {
    char address[256];
    if (!look_up(place->host, address, sizeof address)) snprintf(address, sizeof address, "%s", place->host);
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(atoi(place->port))};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(place->port))};
    int four = inet_pton(AF_INET, address, &in4.sin_addr) == 1;
    if (!four && inet_pton(AF_INET6, address, &in6.sin6_addr) != 1) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    int fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (four ? connect(fd, (void *)&in4, sizeof in4) : connect(fd, (void *)&in6, sizeof in6)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The status of one GET, its whole reply in `reply`; -1 and errno where there was none. */
static int get(const struct place *place, const char *token, const char *path, char *reply) {
    char request[2048];
    int length = snprintf(request, sizeof request,
                          "GET %s%s HTTP/1.0\r\nHost: %s:%s\r\nAuthorization: Bearer %s\r\n\r\n",
                          place->prefix, path, place->host, place->port, token);
    int fd = connect_to(place), status = -1;
    if (fd < 0) return -1;
    size_t used = 0;
    ssize_t got = -1;
    if (length < (int)sizeof request && send(fd, request, length, MSG_NOSIGNAL) == length)
        while (used < REPLY_MAX - 1 && (got = recv(fd, reply + used, REPLY_MAX - 1 - used, 0)) > 0)
            used += got;
    close(fd);
    reply[used] = 0;
    sscanf(reply, "HTTP/%*s %d", &status);
    return status;
}

/* Print each value of `key` in the reply. The API writes compact JSON, and ids hold no quotes. */
static void print_values(const char *reply, const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
    for (const char *at = reply; (at = strstr(at, quoted));) {
        at += strlen(quoted);
        printf(" %.*s", (int)strcspn(at, "\""), at);
    }
    printf("\n");
}

static void ask(const struct place *place, const char *token, const char *path, const char *what,
                const char *key) {
    static char reply[REPLY_MAX];
    int status = -1;
    for (int i = 0; i < TRIES && status < 0; i++) {
        if (i) usleep(200000);
        status = get(place, token, path, reply);
    }
    if (status < 0) {
        printf("asked for %s: no answer from %s:%s (%s)\n", what, place->host, place->port, strerror(errno));
        return;
    }
    printf("asked for %s: %d", what, status);
    print_values(status == 200 ? reply : "", key);
}

void ask_about_ourselves(void) {
    const char *url = getenv("HATHORA_SERVER_URL"), *app = getenv("HATHORA_APP_ID");
    const char *process = getenv("HATHORA_PROCESS_ID"), *token = getenv("HATHORA_DEV_TOKEN");
    struct place place;
    char path[512];
    if (!token || !*token) token = getenv("HATHORA_TOKEN");
    if (!token || !*token || !url || !app || !process) {
        printf("not asking about this process: no HATHORA_DEV_TOKEN\n");
        return;
    }
    if (!read_url(url, &place)) {
        printf("not asking about this process: HATHORA_SERVER_URL is no plain http URL: %s\n", url);
        return;
    }
    snprintf(path, sizeof path, "/processes/v3/apps/%s/processes/%s", app, process);
    ask(&place, token, path, "process", "status");
    snprintf(path, sizeof path, "/rooms/v2/%s/list/%s/active", app, process);
    ask(&place, token, path, "rooms", "roomId");
}
