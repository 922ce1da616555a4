/* The voice inside a tiny guest: makes load and tells how it fares, over a virtio-serial port.
 *
 * One request a line, one answer a line: "ok", then what was asked for as name=value; or "error" and why.
 *
 *   echo WORDS                  the words again
 *   burn CORES                  keep so many cores busy until told otherwise; 0.5 is one of them half the time
 *   hold BYTES                  have so many bytes of memory, each page written; more grows, fewer shrinks
 *   dirty RATE BYTES            write so many bytes a second, whole pages, over and over the same BYTES of memory of
 *                               its own; RATE 0 stops and keeps it, BYTES 0 gives it back
 *   check                       read all of both; how many pages are not what was written
 *   serve RATE MICROSECONDS PAGES   so many requests a second, due at fixed times: each computes for so long
 *                               and reads so many random pages of what is held; RATE 0 stops
 *   report                      latency of the requests since the last report, and the kernel's own counts
 *   run COMMAND                 a command of the shell: exit code, and what it said, lines split by \x1f
 *
 * A request's latency runs from when it was due to when it was done, so one that could not start counts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LINE 4096
#define PAGE 4096UL
#define CORES_MAX 64
#define LATENCIES_MAX 65536
#define BURN_PERIOD 0.01
#define DIRTY_PERIOD 0.02

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile double burn_cores, serve_rate, serve_microseconds, serve_pages;
static unsigned char *held;
static size_t held_pages;
static uint32_t latencies[LATENCIES_MAX];
static size_t latency_count;
static int burners;
static volatile double sink;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void sleep_until(double when) {
    struct timespec t = {(time_t)when, (long)((when - floor(when)) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

static void compute_until(double when) {
    while (now() < when)
        for (int i = 0; i < 200; i++) sink = sink * 1.0000001 + i;
}

/* Each burner takes one core's worth of what is left for it. */
static void *burn(void *number) {
    double rank = (double)(intptr_t)number;
    for (;;) {
        double share = burn_cores - rank, begin = now();
        if (share <= 0) {
            usleep(50000);
            continue;
        }
        compute_until(begin + BURN_PERIOD * (share < 1 ? share : 1));
        if (share < 1) sleep_until(begin + BURN_PERIOD);
    }
    return NULL;
}

/* Xorshift (Marsaglia 2003). */
static uint64_t next(uint64_t word) {
    word ^= word << 13;
    word ^= word >> 7;
    return word ^ word << 17;
}

static void *serve(void *unused) {
    (void)unused;
    uint64_t chance = 88172645463325252ULL;
    double due = now();
    for (;;) {
        double rate = serve_rate;
        if (rate <= 0) {
            usleep(20000);
            due = now();
            continue;
        }
        due += 1 / rate;
        sleep_until(due);
        compute_until(now() + serve_microseconds / 1e6);
        pthread_mutex_lock(&lock);
        for (int i = 0; i < (int)serve_pages && held_pages; i++) {
            chance = next(chance);
            sink += held[(chance % held_pages) * PAGE];
        }
        double late = (now() - due) * 1e6;
        if (latency_count < LATENCIES_MAX) latencies[latency_count++] = late < 4e9 ? (uint32_t)late : 4000000000U;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* A CPU that was plugged in stays off until somebody says so: udev's job elsewhere. */
static void *bring_online(void *unused) {
    (void)unused;
    for (;;) {
        for (int cpu = 1; cpu < CORES_MAX; cpu++) {
            char path[64], is = '1';
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/online", cpu);
            int file = open(path, O_RDWR);
            if (file < 0) continue;
            if (read(file, &is, 1) == 1 && is == '0' && pwrite(file, "1", 1, 0) < 0) is = '0';
            close(file);
        }
        usleep(200000);
    }
    return NULL;
}

/* No two pages are alike, nor is any easy to compress. */
static void write_page(size_t page) {
    uint64_t *words = (uint64_t *)(held + page * PAGE), word = (page + 1) * 0x9E3779B97F4A7C15ULL;
    for (size_t i = 0; i < PAGE / 8; i++) words[i] = word = next(word);
}

static int page_holds(size_t page) {
    uint64_t *words = (uint64_t *)(held + page * PAGE), word = (page + 1) * 0x9E3779B97F4A7C15ULL;
    for (size_t i = 0; i < PAGE / 8; i++) {
        word = next(word);
        if (words[i] != word) return 0;
    }
    return 1;
}

static int hold(size_t pages) {
    pthread_mutex_lock(&lock);
    size_t had = held_pages;
    void *moved = MAP_FAILED;
    if (pages && had) moved = mremap(held, had * PAGE, pages * PAGE, MREMAP_MAYMOVE);
    else if (pages) moved = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    else if (had) munmap(held, had * PAGE);
    int failed = pages && moved == MAP_FAILED;
    if (!failed) held = pages ? moved : NULL, held_pages = pages < had ? pages : had;
    pthread_mutex_unlock(&lock);
    if (failed) return -1;
    for (size_t page = had; page < pages; page++) write_page(page);
    held_pages = pages;
    return 0;
}

/* What is rewritten: each page begins with how often it was, and the rest follows from that and its number. */
static unsigned char *rewritten;
static size_t rewritten_pages, rewritten_count;
static volatile double dirty_rate;
static pthread_mutex_t dirty_lock = PTHREAD_MUTEX_INITIALIZER;

static void rewrite_page(size_t page, uint64_t turn) {
    uint64_t *words = (uint64_t *)(rewritten + page * PAGE), word = (page + 1) * 0x9E3779B97F4A7C15ULL ^ turn << 32;
    words[0] = turn;
    for (size_t i = 1; i < PAGE / 8; i++) words[i] = word = next(word);
}

/* The turn that a page is of, which all of it must show; 0 where it does not. */
static uint64_t page_turn(size_t page) {
    uint64_t *words = (uint64_t *)(rewritten + page * PAGE), turn = words[0];
    uint64_t word = (page + 1) * 0x9E3779B97F4A7C15ULL ^ turn << 32;
    for (size_t i = 1; i < PAGE / 8; i++) {
        word = next(word);
        if (words[i] != word) return 0;
    }
    return turn;
}

static void *dirty(void *unused) {
    (void)unused;
    double due = now();
    for (;;) {
        double rate = dirty_rate;
        if (rate <= 0) {
            usleep(20000);
            due = now();
            continue;
        }
        due += DIRTY_PERIOD;
        if (now() - due > DIRTY_PERIOD) due = now(); /* what could not be written in time is not made up for */
        else sleep_until(due);
        pthread_mutex_lock(&dirty_lock);
        for (size_t left = (size_t)(rate * DIRTY_PERIOD / PAGE + 0.5); left && rewritten_pages; left--, rewritten_count++)
            rewrite_page(rewritten_count % rewritten_pages, rewritten_count / rewritten_pages + 1);
        pthread_mutex_unlock(&dirty_lock);
    }
    return NULL;
}

static int keep_dirty(double rate, size_t pages) {
    pthread_mutex_lock(&dirty_lock);
    dirty_rate = 0;
    int failed = 0;
    if (pages != rewritten_pages) {
        if (rewritten_pages) munmap(rewritten, rewritten_pages * PAGE);
        rewritten_pages = rewritten_count = 0;
        void *made = pages ? mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
        failed = made == MAP_FAILED;
        if (!failed) {
            rewritten = made, rewritten_pages = pages;
            for (; rewritten_count < pages; rewritten_count++) rewrite_page(rewritten_count, 1);
        }
    }
    dirty_rate = failed ? 0 : rate;
    pthread_mutex_unlock(&dirty_lock);
    return failed;
}

/* A page is wrong where it is torn, or not of the turn that it must be of by now. */
static size_t wrong_turns(void) {
    size_t bad = 0;
    pthread_mutex_lock(&dirty_lock);
    for (size_t page = 0; page < rewritten_pages; page++) {
        size_t turn = rewritten_count / rewritten_pages + (page < rewritten_count % rewritten_pages);
        bad += page_turn(page) != turn;
    }
    pthread_mutex_unlock(&dirty_lock);
    return bad;
}

static int by_size(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* The number behind a word at the start of a line in a file of the kernel; -1 without one. */
static long long told(const char *path, const char *word) {
    char line[256];
    long long value = -1;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, word, strlen(word))) value = strtoll(line + strlen(word), NULL, 10);
    if (file) fclose(file);
    return value;
}

static void report(char *answer, size_t size) {
    static uint32_t sorted[LATENCIES_MAX];
    pthread_mutex_lock(&lock);
    size_t count = latency_count;
    memcpy(sorted, latencies, count * sizeof *sorted);
    latency_count = 0;
    pthread_mutex_unlock(&lock);
    qsort(sorted, count, sizeof *sorted, by_size);
    int used = snprintf(answer, size, "ok requests=%zu", count);
    if (count)
        used += snprintf(answer + used, size - used, " p50_microseconds=%u p99_microseconds=%u max_microseconds=%u",
                         sorted[count / 2], sorted[(size_t)((count - 1) * 0.99)], sorted[count - 1]);
    snprintf(answer + used, size - used,
             " pswpin=%lld pswpout=%lld pgmajfault=%lld available_bytes=%lld total_bytes=%lld held_bytes=%zu cpus=%ld"
             " uptime_seconds=%.3f",
             told("/proc/vmstat", "pswpin "), told("/proc/vmstat", "pswpout "), told("/proc/vmstat", "pgmajfault "),
             1024 * told("/proc/meminfo", "MemAvailable:"), 1024 * told("/proc/meminfo", "MemTotal:"),
             held_pages * PAGE, sysconf(_SC_NPROCESSORS_ONLN), now());
}

static void run(const char *command, char *answer, size_t size) {
    FILE *pipe = popen(command, "r");
    if (!pipe) {
        snprintf(answer, size, "error no shell");
        return;
    }
    char said[LINE];
    size_t got = fread(said, 1, sizeof said - 64, pipe);
    while (fgetc(pipe) != EOF) {
    }
    for (size_t i = 0; i < got; i++)
        if (said[i] == '\n') said[i] = 0x1f;
    while (got && said[got - 1] == 0x1f) got--;
    said[got] = 0;
    int status = pclose(pipe);
    snprintf(answer, size, "ok exit=%d said=%s", status < 0 ? -1 : (status >> 8) & 255, said);
}

static void do_as_told(char *line, char *answer, size_t size) {
    double a, b, c;
    if (!strncmp(line, "echo ", 5)) snprintf(answer, size, "ok %s", line + 5);
    else if (sscanf(line, "burn %lf", &a) == 1 && a >= 0 && a <= CORES_MAX) {
        pthread_t thread;
        for (burn_cores = a; burners < a; burners++) pthread_create(&thread, NULL, burn, (void *)(intptr_t)burners);
        snprintf(answer, size, "ok");
    } else if (sscanf(line, "hold %lf", &a) == 1 && a >= 0)
        snprintf(answer, size, hold((size_t)a / PAGE) ? "error no such memory" : "ok");
    else if (!strcmp(line, "check")) {
        size_t bad = 0;
        for (size_t page = 0; page < held_pages; page++) bad += !page_holds(page);
        bad += wrong_turns();
        snprintf(answer, size, "ok pages=%zu bad=%zu rewritten=%zu", held_pages + rewritten_pages, bad, rewritten_count);
    } else if (sscanf(line, "dirty %lf %lf", &a, &b) == 2 && a >= 0 && b >= 0) {
        snprintf(answer, size, keep_dirty(a, (size_t)b / PAGE) ? "error no such memory" : "ok");
    } else if (sscanf(line, "serve %lf %lf %lf", &a, &b, &c) == 3 && a >= 0 && a <= 10000) {
        serve_microseconds = b, serve_pages = c, serve_rate = a;
        snprintf(answer, size, "ok");
    } else if (!strcmp(line, "report")) report(answer, size);
    else if (!strncmp(line, "run ", 4)) run(line + 4, answer, size);
    else snprintf(answer, size, "error not understood");
}

int main(int count, char **words) {
    static char line[LINE], answer[2 * LINE];
    pthread_t thread;
    int port = count > 1 ? open(words[1], O_RDWR) : -1;
    if (port < 0) return 1;
    pthread_create(&thread, NULL, serve, NULL);
    pthread_create(&thread, NULL, dirty, NULL);
    pthread_create(&thread, NULL, bring_online, NULL);
    for (size_t used = 0;;) {
        ssize_t got = read(port, line + used, 1);
        if (got <= 0) usleep(20000); /* nobody at the other end */
        else if (line[used] != '\n') used += used < LINE - 2;
        else {
            line[used] = 0;
            used = 0;
            do_as_told(line, answer, sizeof answer - 1);
            strcat(answer, "\n");
            for (size_t left = strlen(answer), at = 0; left;) {
                ssize_t wrote = write(port, answer + at, left);
                if (wrote < 0) usleep(1000);
                else left -= wrote, at += wrote;
            }
        }
    }
}
