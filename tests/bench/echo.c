/* The floor: one thread that answers every HTTP request with its own body. `echo PORT`. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 1 << 16 };

struct connection {
    int fd;
    size_t length;
    char in[SIZE + 1];
};

/* How many bytes of a whole request were answered; 0 while it is not whole. */
static size_t answer(struct connection *c) {
    static char out[SIZE + 256];
    c->in[c->length] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return 0;
    char *header = strcasestr(c->in, "\r\ncontent-length:");
    size_t body = header && header < end ? strtoul(header + 17, NULL, 10) : 0;
    size_t head = (size_t)(end - c->in) + 4;
    if (c->length < head + body) return 0;
    int n = sprintf(out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", body);
    memcpy(out + n, c->in + head, body);
    if (send(c->fd, out, (size_t)n + body, MSG_NOSIGNAL) < 0) return 0;
    return head + body;
}

static int readable(struct connection *c) {
    ssize_t n = recv(c->fd, c->in + c->length, SIZE - c->length, 0);
    if (n <= 0) return 0;
    c->length += (size_t)n;
    for (size_t taken; c->length && (taken = answer(c));) {
        c->length -= taken;
        memmove(c->in, c->in + taken, c->length);
    }
    return c->length < SIZE;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) {
        perror("echo");
        return 1;
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                c = calloc(1, sizeof *c);
                c->fd = accept(listener, NULL, NULL);
                setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
                epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
            } else if (!readable(c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
