/* A closed-loop load client: each connection sends its next request when the last one is answered.
 *
 *   load PORT CONNECTIONS WARM_UP SECONDS http|websocket PATH BODIES EPISODE_STEPS [AUTHORIZATION]
 *
 * BODIES is a file with one body a line, taken in turn. With EPISODE_STEPS above 0 a line is the observation's JSON, and each
 * connection plays episodes: it carries the token of the last answer, and ends the episode after that many decisions.
 * `requests` are those of the measured time, without endings; `answers` are all. Prints one JSON object; latencies in microseconds. In C, so that it is never
 * what is measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_SIZE = 1 << 20, OUT_SIZE = 1 << 16, TOKEN_SIZE = 1 << 14, MOST_LATENCIES = 1 << 26 };

struct connection {
    int fd;
    int open;   /* the WebSocket's handshake is done */
    int ending; /* the request in flight ends the episode */
    long steps;
    char *token, *in;
    size_t in_length;
    uint64_t sent;
};

static const char *path, *authorization;
static int port, websocket, epoll;
static long episode_steps;
static char **bodies, first_error[512];
static size_t body_count, next_body;
static uint64_t counted_from, ends_at, errors, answers, refusals;
static uint32_t *latencies;
static size_t count;

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void failed(const char *why, size_t length) {
    errors++;
    if (!first_error[0])
        for (size_t i = 0; i < length && i < sizeof first_error - 1; i++)
            first_error[i] = why[i] < ' ' || why[i] == '"' || why[i] == '\\' ? ' ' : why[i];
}

static void read_bodies(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file) die("cannot read %s: %s", name, strerror(errno));
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; (n = getline(&line, &room, file)) > 0; body_count++) {
        if (line[n - 1] == '\n') line[n - 1] = 0;
        bodies = realloc(bodies, (body_count + 1) * sizeof *bodies);
        bodies[body_count] = strdup(line);
    }
    if (!body_count) die("%s holds no body", name);
}

static void send_all(struct connection *c, const char *data, size_t length) {
    while (length) {
        ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* reading will tell */
        data += n;
        length -= (size_t)n;
    }
}

static size_t write_body(struct connection *c, char *to) {
    if (!episode_steps) return (size_t)snprintf(to, OUT_SIZE, "%s", bodies[next_body++ % body_count]);
    c->ending = c->token[0] && c->steps >= episode_steps;
    if (c->ending) return (size_t)snprintf(to, OUT_SIZE, "{\"reward\":1.0,\"episode\":\"%s\",\"terminated\":true}", c->token);
    const char *observation = bodies[next_body++ % body_count];
    if (!c->token[0]) return (size_t)snprintf(to, OUT_SIZE, "{\"observation\":%s}", observation);
    return (size_t)snprintf(
        to, OUT_SIZE, "{\"observation\":%s,\"reward\":1.0,\"episode\":\"%s\"}", observation, c->token);
}

static void ask(struct connection *c) {
    static char out[OUT_SIZE + 1024], body[OUT_SIZE];
    size_t length = write_body(c, body), head;
    if (websocket) { /* a text frame under a mask of zeros */
        out[0] = (char)0x81;
        if (length < 126) {
            out[1] = (char)(0x80 | length);
            head = 2;
        } else {
            out[1] = (char)(0x80 | 126);
            out[2] = (char)(length >> 8);
            out[3] = (char)length;
            head = 4;
        }
        memset(out + head, 0, 4);
        head += 4;
    } else {
        head = (size_t)sprintf(
            out,
            "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: */*\r\n%s%s%s"
            "Content-Length: %zu\r\n\r\n",
            path, port, authorization ? "Authorization: " : "", authorization ? authorization : "",
            authorization ? "\r\n" : "", length);
    }
    memcpy(out + head, body, length);
    c->sent = now();
    send_all(c, out, head + length);
}

static void upgrade(struct connection *c) {
    static char out[8192];
    int n = snprintf(
        out, sizeof out,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
        path, port, authorization ? "Authorization: " : "", authorization ? authorization : "",
        authorization ? "\r\n" : "");
    send_all(c, out, (size_t)n);
}

static void connect_it(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("cannot connect: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    c->in_length = 0;
    c->open = 0;
    if (websocket)
        upgrade(c);
    else
        ask(c);
}

static const char *find_token(const char *body, size_t length, size_t *token_length) {
    const char *end = body + length, *at = memmem(body, length, "\"episode\":", 10), *closing;
    if (!at) return NULL;
    for (at += 10; at < end && *at == ' '; at++) {}
    if (at == end || *at++ != '"' || !(closing = memchr(at, '"', (size_t)(end - at)))) return NULL;
    *token_length = (size_t)(closing - at);
    return *token_length < TOKEN_SIZE ? at : NULL;
}

static void answered(struct connection *c, int ok, const char *body, size_t length) {
    uint64_t at = now();
    answers++;
    if (!ok) {
        failed(body, length);
        c->token[0] = 0;
    } else if (c->ending) {
        c->token[0] = 0;
        c->ending = 0;
    } else {
        if (at >= counted_from && at < ends_at && count < MOST_LATENCIES) latencies[count++] = (uint32_t)((at - c->sent) / 100);
        if (episode_steps) {
            size_t token_length;
            const char *token = find_token(body, length, &token_length);
            if (!token) {
                failed(body, length);
                c->token[0] = 0;
            } else {
                c->steps = c->token[0] ? c->steps + 1 : 1;
                memcpy(c->token, token, token_length);
                c->token[token_length] = 0;
            }
        }
    }
    if (at < ends_at) ask(c);
}

/* The length of a whole chunked body, 0 while it is not whole; its data are moved together, `*data` long. */
static size_t unchunk(char *body, size_t length, size_t *data) {
    size_t at = 0;
    *data = 0;
    for (;;) {
        char *line = memmem(body + at, length - at, "\r\n", 2);
        if (!line) return 0;
        size_t size = strtoul(body + at, NULL, 16), start = (size_t)(line - body) + 2;
        if (start + size + 2 > length) return 0;
        if (!size) return start + 2;
        memmove(body + *data, body + start, size);
        *data += size;
        at = start + size + 2;
    }
}

/* How many bytes of a whole HTTP answer were taken; 0 while it is not whole. */
static size_t take_http(struct connection *c) {
    char *end = memmem(c->in, c->in_length, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - c->in) + 4, length = 0, data = 0, rest = c->in_length - head;
    *end = 0;
    char *header = strcasestr(c->in, "\r\ncontent-length:");
    int chunked = !header && strcasestr(c->in, "\r\ntransfer-encoding: chunked");
    int status = atoi(c->in + 9);
    *end = '\r';
    if (websocket) {
        if (status != 101) die("the handshake failed: %.*s", (int)c->in_length, c->in);
        c->open = 1;
        ask(c);
        return head;
    }
    if (chunked) {
        char *copy = malloc(rest + 1); /* an answer that is not whole yet must stay as it is */
        memcpy(copy, c->in + head, rest);
        if ((length = unchunk(copy, rest, &data))) answered(c, status == 200, copy, data);
        free(copy);
        return length ? head + length : 0;
    }
    length = header ? strtoul(header + 17, NULL, 10) : 0;
    if (rest < length) return 0;
    answered(c, status == 200, c->in + head, length);
    return head + length;
}

/* Likewise for a frame. */
static size_t take_frame(struct connection *c) {
    unsigned char *in = (unsigned char *)c->in;
    size_t head = 2, length;
    if (c->in_length < 4) return 0;
    length = in[1] & 0x7f;
    if (length == 126) {
        length = (size_t)in[2] << 8 | in[3];
        head = 4;
    } else if (length == 127)
        die("an answer of more than 64 KiB");
    if (c->in_length < head + length) return 0;
    if ((in[0] & 0x0f) == 9) {
        char pong[6] = {(char)0x8a, (char)0x80, 0, 0, 0, 0};
        send_all(c, pong, sizeof pong);
    } else if (in[0] == 0x81)
        answered(c, !memmem(c->in + head, length, "\"detail\":", 9), c->in + head, length);
    else if (in[0] == 0x88)
        die("the server closed the stream: %.*s", (int)(length > 2 ? length - 2 : 0), c->in + head + 2);
    else
        die("an unexpected frame 0x%x", in[0]);
    return head + length;
}

static void readable(struct connection *c) {
    ssize_t n = recv(c->fd, c->in + c->in_length, IN_SIZE - c->in_length, 0);
    if (n < 0 && errno == EINTR) return;
    if (n <= 0) { /* the server may close a connection; too often is an error that the report shows */
        failed("the connection was closed", 25);
        if (++refusals > 100000) die("the server closes connections all the time");
        close(c->fd);
        c->token[0] = 0;
        connect_it(c);
        return;
    }
    c->in_length += (size_t)n;
    for (size_t taken; c->in_length && (taken = websocket && c->open ? take_frame(c) : take_http(c));) {
        c->in_length -= taken;
        memmove(c->in, c->in + taken, c->in_length);
    }
    if (c->in_length == IN_SIZE) die("an answer of more than 1 MiB");
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return count ? latencies[(size_t)(share * (double)(count - 1) + 0.5)] / 10.0 : 0;
}

int main(int argc, char **argv) {
    if (argc < 9) die("load PORT CONNECTIONS WARM_UP SECONDS http|websocket PATH BODIES EPISODE_STEPS [AUTHORIZATION]");
    port = atoi(argv[1]);
    int connections = atoi(argv[2]);
    double warm_up = atof(argv[3]), seconds = atof(argv[4]);
    websocket = !strcmp(argv[5], "websocket");
    path = argv[6];
    read_bodies(argv[7]);
    episode_steps = atol(argv[8]);
    authorization = argc > 9 ? argv[9] : NULL;
    latencies = malloc(sizeof *latencies * MOST_LATENCIES); /* pages are taken as they are written */
    epoll = epoll_create1(0);
    uint64_t began = now();
    counted_from = began + (uint64_t)(warm_up * 1e9);
    ends_at = counted_from + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < connections; i++) {
        struct connection *c = calloc(1, sizeof *c);
        c->in = malloc(IN_SIZE + 1);
        c->token = calloc(1, TOKEN_SIZE);
        connect_it(c);
    }
    while (now() < ends_at) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, 100);
        for (int i = 0; i < n; i++) readable(events[i].data.ptr);
    }
    qsort(latencies, count, sizeof *latencies, compare);
    printf(
        "{\"requests\": %zu, \"answers\": %lu, \"seconds\": %g, \"errors\": %lu, \"first_error\": \"%s\", \"p50\": %.1f, \"p90\": %.1f, "
        "\"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}\n",
        count, (unsigned long)answers, seconds, (unsigned long)errors, first_error, percentile(0.5), percentile(0.9), percentile(0.99),
        percentile(0.999), percentile(1));
    return 0;
}
