/* The tests' guest: PID 1, answers lines on the port `agent`. Static; no library but C's. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static char out[8192];

static void load_modules(void) {
    struct dirent **names;
    int count = scandir("/modules", &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[300];
        if (names[i]->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
        int fd = open(path, O_RDONLY);
        if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) perror(path);
        close(fd);
    }
}

/* The first line of a file in a directory, or an empty string. */
static char *line_of(const char *dir, const char *name, const char *file) {
    static char text[2][256];
    static int turn;
    char path[600];
    turn = !turn;
    text[turn][0] = 0;
    snprintf(path, sizeof path, "%s/%s/%s", dir, name, file);
    FILE *in = fopen(path, "r");
    if (in) {
        if (!fgets(text[turn], sizeof text[turn], in)) text[turn][0] = 0;
        fclose(in);
    }
    text[turn][strcspn(text[turn], "\n")] = 0;
    return text[turn];
}

static int open_port(void) {
    for (int tries = 0; tries < 10000; tries++, usleep(1000)) {
        DIR *dir = opendir("/sys/class/virtio-ports");
        struct dirent *entry;
        while (dir && (entry = readdir(dir))) {
            char path[300];
            if (strcmp(line_of("/sys/class/virtio-ports", entry->d_name, "name"), "agent")) continue;
            snprintf(path, sizeof path, "/dev/%s", entry->d_name);
            int fd = open(path, O_RDWR);
            if (fd >= 0) { closedir(dir); return fd; }
        }
        if (dir) closedir(dir);
    }
    return -1;
}

static void add(const char *format, const char *a, const char *b) {
    size_t used = strlen(out);
    snprintf(out + used, sizeof out - used, format, a, b);
}

static void disks(void) {
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, "vd", 2)) continue;
        const char *serial = line_of("/sys/block", entry->d_name, "serial");
        add("%s=%s,", serial, line_of("/sys/block", entry->d_name, "size"));
        add("%s%s ", line_of("/sys/block", entry->d_name, "ro"), "");
    }
    if (dir) closedir(dir);
}

static void nics(void) {
    DIR *dir = opendir("/sys/class/net");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "lo")) continue;
        add("%s%s ", line_of("/sys/class/net", entry->d_name, "address"), "");
    }
    if (dir) closedir(dir);
}

/* Opens the disk with a serial; its node is the kernel's (devtmpfs). */
static int open_disk(const char *serial, int flags) {
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    int fd = -1;
    while (dir && fd < 0 && (entry = readdir(dir))) {
        char path[300];
        if (strcmp(line_of("/sys/block", entry->d_name, "serial"), serial)) continue;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        fd = open(path, flags);
    }
    if (dir) closedir(dir);
    return fd;
}

static void read_disk(const char *serial) {
    char text[17] = "";
    int fd = open_disk(serial, O_RDONLY);
    if (fd < 0 || read(fd, text, 16) < 0) add("%s%s", "error", "");
    else add("%s%s", text, "");
    if (fd >= 0) close(fd);
}

static void write_disk(char *serial) {
    char *text = strchr(serial, ' ');
    if (!text) return;
    *text++ = 0;
    int fd = open_disk(serial, O_RDWR);
    int done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !fsync(fd);
    add("%s%s", done ? "ok" : "error", "");
    if (fd >= 0) close(fd);
}

/* Uses and gives back so many MiB. */
static void touch(const char *text) {
    size_t size = (size_t)atoi(text) << 20;
    char *memory = malloc(size);
    if (memory) memset(memory, 0x5a, size);
    add("%s%s", memory ? "ok" : "error", "");
    free(memory);
}

static void answer(char *line) {
    out[0] = 0;
    if (!strcmp(line, "ping")) add("%s%s", "pong", "");
    else if (!strcmp(line, "disks")) disks();
    else if (!strcmp(line, "nics")) nics();
    else if (!strcmp(line, "random")) {
        unsigned char bytes[16];
        char text[3];
        syscall(SYS_getrandom, bytes, sizeof bytes, 0);
        for (unsigned i = 0; i < sizeof bytes; i++) {
            snprintf(text, sizeof text, "%02x", bytes[i]);
            add("%s%s", text, "");
        }
    } else if (!strcmp(line, "memory") || !strcmp(line, "free")) {
        struct sysinfo info;
        char text[32];
        sysinfo(&info);
        unsigned long long pages = *line == 'f' ? info.freeram : info.totalram;
        snprintf(text, sizeof text, "%llu", pages * info.mem_unit);
        add("%s%s", text, "");
    } else if (!strcmp(line, "clock"))
        add("%s%s", line_of("/sys/devices/system/clocksource", "clocksource0", "current_clocksource"), "");
    else if (!strcmp(line, "generation"))
        add("%s%s", access("/sys/bus/acpi/drivers/vmgenid", F_OK) ? "no" : "yes", "");
    else if (!strncmp(line, "read ", 5)) read_disk(line + 5);
    else if (!strncmp(line, "write ", 6)) write_disk(line + 6);
    else if (!strncmp(line, "touch ", 6)) touch(line + 6);
    else if (!strcmp(line, "off")) reboot(RB_POWER_OFF);
    else if (!strcmp(line, "reboot")) reboot(RB_AUTOBOOT);
    else if (!strcmp(line, "panic")) exit(1);
    else add("%s%s", "what?", "");
    add("%s%s", "\n", "");
}

int main(void) {
    mount("none", "/dev", "devtmpfs", 0, "");
    mount("none", "/sys", "sysfs", 0, "");
    mount("none", "/proc", "proc", 0, "");
    load_modules();
    int port = open_port();
    char line[256];
    size_t length = 0;
    printf("agent: port %d\n", port);
    fflush(stdout);
    for (;;) {
        char byte;
        if (read(port, &byte, 1) != 1) { usleep(1000); continue; }
        if (byte != '\n') { if (length < sizeof line - 1) line[length++] = byte; continue; }
        line[length] = 0;
        length = 0;
        answer(line);
        for (size_t at = 0, all = strlen(out); at < all;) {
            ssize_t count = write(port, out + at, all - at);
            if (count > 0) at += count; else usleep(1000);
        }
    }
}
