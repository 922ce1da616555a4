/* Claims resources from the host, for guests without Python: build it static and copy it in.
 *
 *     cc -O2 -static -s -o tidegate-vral tidegate_vral.c
 *
 *     tidegate-vral CHANNEL hello
 *     tidegate-vral CHANNEL claim KIND AMOUNT [FIELD=VALUE ...]     as min=1 burst=4 ttl_seconds=60 near=true
 *     tidegate-vral CHANNEL renew LEASE [FIELD=VALUE ...]
 *     tidegate-vral CHANNEL release LEASE
 *     tidegate-vral CHANNEL list
 *     tidegate-vral CHANNEL watch SECONDS                           prints notices as they come
 *     tidegate-vral CHANNEL time COUNT KIND AMOUNT                  claims and releases so often
 *
 * CHANNEL is a port (/dev/vport0p1), a Unix socket or vsock:CID:PORT; - is the port org.tidegate.vral.0. The
 * answer is printed as it came, a line of JSON. Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no channel or no
 * answer. docs/reference/vral-protocol.md describes the protocol.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#define LINE_MAX_BYTES 65536
#define REQUEST_MAX_BYTES 4096
#define PORT_NAME "org.tidegate.vral.0"
#define ANSWER_SECONDS 10.0
#define AGAIN_SECONDS 2.0 /* sent again under the same id, it is done once */
#define TIMES_MAX 100000

static int channel = -1, is_socket;
static char rest[LINE_MAX_BYTES + 1];
static size_t rest_size;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Where the port of our name is; udev makes a link in /dev/virtio-ports, which a tiny guest has not. */
static int find_port(char *path, size_t size) {
    DIR *ports = opendir("/sys/class/virtio-ports");
    struct dirent *port;
    int found = 0;
    while (ports && !found && (port = readdir(ports))) {
        char name[512] = "", said[64] = "";
        snprintf(name, sizeof name, "/sys/class/virtio-ports/%s/name", port->d_name);
        FILE *file = fopen(name, "r");
        if (!file) continue;
        found = fgets(said, sizeof said, file) && !strncmp(said, PORT_NAME "\n", sizeof PORT_NAME);
        fclose(file);
        if (found) snprintf(path, size, "/dev/%s", port->d_name);
    }
    if (ports) closedir(ports);
    return found;
}

static int open_channel(const char *name) {
    unsigned cid, port;
    char path[300];
    struct stat about;
    if (sscanf(name, "vsock:%u:%u", &cid, &port) == 2) {
        struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
        is_socket = 1;
        channel = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return channel < 0 ? -1 : connect(channel, (struct sockaddr *)&to, sizeof to);
    }
    snprintf(path, sizeof path, "%s", name);
    if (!strcmp(name, "-") && !find_port(path, sizeof path)) return -1;
    if (stat(path, &about)) return -1;
    if (S_ISSOCK(about.st_mode)) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof to.sun_path) return -1;
        strcpy(to.sun_path, path);
        is_socket = 1;
        channel = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return channel < 0 ? -1 : connect(channel, (struct sockaddr *)&to, sizeof to);
    }
    channel = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return channel < 0 ? -1 : 0;
}

static int ready(short what, double until) {
    struct pollfd one = {.fd = channel, .events = what};
    double left = until - now();
    if (left <= 0) return 0;
    return poll(&one, 1, (int)(left * 1000) + 1) > 0;
}

static int send_all(const char *data, size_t size, double until) {
    while (size && ready(POLLOUT, until)) {
        ssize_t wrote = write(channel, data, size);
        if (wrote < 0 && errno != EAGAIN && errno != EINTR) return -1;
        if (wrote < 0) usleep(20000);
        else data += wrote, size -= wrote;
    }
    return 0;
}

/* The next line, its end cut off: 1; 0 where none came in time; -1 where the host hung up. */
static int next_line(char *line, double until) {
    for (;;) {
        char *end = memchr(rest, '\n', rest_size);
        if (end) {
            size_t size = end - rest;
            memcpy(line, rest, size);
            line[size] = 0;
            rest_size -= size + 1;
            memmove(rest, end + 1, rest_size);
            return 1;
        }
        if (rest_size == LINE_MAX_BYTES) rest_size = 0;
        if (!ready(POLLIN, until)) {
            if (now() >= until) return 0;
            continue;
        }
        ssize_t got = read(channel, rest + rest_size, LINE_MAX_BYTES - rest_size);
        if (got > 0) rest_size += got;
        else if (got == 0 && is_socket) return -1;
        else if (got < 0 && errno != EAGAIN && errno != EINTR) return -1;
        else usleep(20000); /* a port whose other end nobody holds */
    }
}

static void draw_id(char *id) {
    unsigned char drawn[16] = {0};
    int chance = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (chance < 0 || read(chance, drawn, sizeof drawn) != sizeof drawn) {
        uint64_t instead[2] = {(uint64_t)(now() * 1e9), (uint64_t)getpid()};
        memcpy(drawn, instead, sizeof drawn);
    }
    if (chance >= 0) close(chance);
    for (int i = 0; i < 16; i++) sprintf(id + 2 * i, "%02x", drawn[i]);
}

/* Sends a request whose fields are `rest_of`, and waits for its answer: 0 done, 1 refused, 3 no answer. */
static int ask(const char *rest_of, char *answer) {
    static char request[REQUEST_MAX_BYTES + 64];
    char id[33], mark[48];
    draw_id(id);
    snprintf(mark, sizeof mark, "\"id\":\"%s\"", id);
    /* The first end of line ends what somebody before us left half said. */
    int size = snprintf(request, sizeof request, "\n{\"v\":1,\"id\":\"%s\",%s}\n", id, rest_of);
    for (double until = now() + ANSWER_SECONDS; now() < until;) {
        double again = now() + AGAIN_SECONDS;
        if (send_all(request, size, again) < 0) return 3;
        int got;
        while ((got = next_line(answer, again)) > 0)
            if (strstr(answer, mark)) return strstr(answer, "\"ok\":true") ? 0 : 1;
        if (got < 0) return 3;
    }
    return 3;
}

/* Adds FIELD=VALUE as JSON: numbers, true and false as they are, all else as text. Nothing that could end it. */
static int add_field(char *to, size_t size, const char *field) {
    const char *value = strchr(field, '=');
    size_t used = strlen(to);
    char *end;
    if (!value || value == field) return -1;
    for (const char *c = field; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_-.=+", *c)) return -1;
    strtod(value + 1, &end);
    int bare = (value[1] && !*end) || !strcmp(value + 1, "true") || !strcmp(value + 1, "false");
    int wrote = snprintf(to + used, size - used, ",\"%.*s\":%s%s%s", (int)(value - field), field, bare ? "" : "\"",
                         value + 1, bare ? "" : "\"");
    return wrote < 0 || (size_t)wrote >= size - used ? -1 : 0;
}

static int request_of(int count, char **words, char *request, size_t size) {
    char field[300];
    int first = 1, bad = 0;
    snprintf(request, size, "\"do\":\"%s\"", words[0]);
    if (!strcmp(words[0], "claim") && count >= 3) {
        snprintf(field, sizeof field, "kind=%s", words[1]);
        bad |= add_field(request, size, field);
        snprintf(field, sizeof field, "wanted=%s", words[2]);
        bad |= add_field(request, size, field);
        first = 3;
    } else if ((!strcmp(words[0], "renew") || !strcmp(words[0], "release")) && count >= 2) {
        snprintf(field, sizeof field, "lease=%s", words[1]);
        bad |= add_field(request, size, field);
        first = 2;
    } else if (!strcmp(words[0], "watch") && count == 2) {
        snprintf(field, sizeof field, "seconds=%s", words[1]);
        bad |= add_field(request, size, field);
        first = 2;
    } else if ((strcmp(words[0], "hello") && strcmp(words[0], "list")) || count != 1)
        return -1;
    for (int i = first; i < count; i++) bad |= add_field(request, size, words[i]);
    return bad;
}

static int by_size(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static int timed(int count, char *kind, char *wanted, char *answer) {
    static double took[TIMES_MAX];
    char request[REQUEST_MAX_BYTES], lease[128];
    char *claim[] = {"claim", kind, wanted}, *release[] = {"release", lease};
    if (count < 1 || count > TIMES_MAX) return 2;
    for (int i = 0; i < count; i++) {
        if (request_of(3, claim, request, sizeof request)) return 2;
        double begin = now();
        int code = ask(request, answer);
        took[i] = 1000 * (now() - begin);
        char *name = strstr(answer, "\"lease\":\"");
        if (code || !name || sscanf(name, "\"lease\":\"%127[^\"]", lease) != 1) return code ? code : 1;
        if (request_of(2, release, request, sizeof request) || (code = ask(request, answer))) return code ? code : 2;
    }
    qsort(took, count, sizeof *took, by_size);
    snprintf(answer, LINE_MAX_BYTES, "{\"claims\":%d,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f}", count,
             took[count / 2], took[(int)((count - 1) * 0.99)], took[count - 1]);
    return 0;
}

int main(int count, char **words) {
    static char answer[LINE_MAX_BYTES + 1], request[REQUEST_MAX_BYTES];
    int code;
    if (count < 3) return fprintf(stderr, "usage: tidegate-vral CHANNEL DO [WORDS]\n"), 2;
    if (open_channel(words[1])) return fprintf(stderr, "%s can't be opened\n", words[1]), 3;
    if (!strcmp(words[2], "time") && count == 6) code = timed(atoi(words[3]), words[4], words[5], answer);
    else if (request_of(count - 2, words + 2, request, sizeof request)) code = 2;
    else code = ask(request, answer);
    if (code == 2) return fprintf(stderr, "these words can't be\n"), 2;
    if (code == 3) return fprintf(stderr, "the host did not answer\n"), 3;
    puts(answer);
    if (!strcmp(words[2], "watch") && !code)
        for (double until = now() + atof(words[3]); next_line(answer, until) > 0;)
            if (strstr(answer, "\"notice\":")) puts(answer), fflush(stdout);
    return code;
}
