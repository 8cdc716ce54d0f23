/* Round trips of one UDP message after another: udp HOST PORT COUNT BYTES.
 * Prints the median and the 99th percentile in microseconds. A lost message ends it with code 1 and a line. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum { COUNT_MAX = 100000, BYTES_MAX = 1400 };

static double taken[COUNT_MAX];

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int count = atoi(argv[3]), bytes = atoi(argv[4]);
    if (count < 1 || count > COUNT_MAX || bytes < 1 || bytes > BYTES_MAX) return 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = {.tv_sec = 2};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience)) return 1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return 1;
    char message[BYTES_MAX], answer[BYTES_MAX + 1];
    memset(message, 'e', sizeof message);
    for (int i = 0; i < count; i++) {
        double begun = now_us();
        if (send(fd, message, (size_t)bytes, 0) != bytes || recv(fd, answer, sizeof answer, 0) != bytes) {
            fprintf(stderr, "message %d of %d: %s\n", i + 1, count, strerror(errno));
            return 1;
        }
        taken[i] = now_us() - begun;
    }
    qsort(taken, (size_t)count, sizeof *taken, compare);
    printf("%.2f %.2f\n", taken[count / 2], taken[count * 99 / 100]);
    return 0;
}
