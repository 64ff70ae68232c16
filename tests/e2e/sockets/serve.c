/* Serves a unix socket, one connection after the other: says what it heard. After "bye" it ends. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void all(int to, const char *text, size_t size) {
    while (size > 0) {
        ssize_t put = write(to, text, size);
        if (put <= 0) exit(2);
        text += put, size -= (size_t)put;
    }
}

int main(int count, char **args) {
    static char text[1 << 20];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (count != 2 || strlen(args[1]) >= sizeof at.sun_path) return 1;
    strcpy(at.sun_path, args[1]);
    unlink(args[1]);
    int all_of_them = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(all_of_them, (struct sockaddr *)&at, sizeof at) || listen(all_of_them, 16)) return 1;
    all(1, "serves\n", 7);
    for (;;) {
        int one = accept(all_of_them, NULL, NULL);
        if (one < 0) return 1;
        size_t size = 0;
        ssize_t got;
        while (size < sizeof text && (got = read(one, text + size, sizeof text - size)) > 0) size += (size_t)got;
        all(one, "heard ", 6);
        all(one, text, size);
        if (size >= 3 && !memcmp(text, "bye", 3)) return 3;
        close(one);
    }
}
