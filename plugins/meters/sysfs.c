#include "plugins/meters/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sysfs_line(const char *folder, const char *file, char *line, size_t line_bytes)
{
    char path[SYSFS_PATH_BYTES];
    ssize_t got;
    int fd;

    if ((size_t) snprintf(path, sizeof path, "%s/%s", folder, file) >= sizeof path)
        return -ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    do
        got = read(fd, line, line_bytes - 1);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        got = -errno;
    (void) close(fd);
    if (got < 0)
        return (int) got;
    line[got] = 0;
    line[strcspn(line, "\n")] = 0;
    return 0;
}

int sysfs_number(const char *folder, const char *file, int64_t *out)
{
    char line[32];
    char *end;
    int rc = sysfs_line(folder, file, line, sizeof line);

    if (rc < 0)
        return rc;
    errno = 0;
    *out = strtoll(line, &end, 10);
    return errno || end == line || *end ? -EBADMSG : 0;
}
