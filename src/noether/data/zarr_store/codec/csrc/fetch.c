#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "fetch.h"

#include <unistd.h>

bool fetch(int descriptor, int64_t start, uint8_t *out, size_t n_bytes) {
    while (n_bytes > 0) {
        const ssize_t n = pread(descriptor, out, n_bytes, (off_t)start);
        if (n <= 0) { /* also after a signal: the caller reads again with Python, which handles the signal */
            return false;
        }
        out += n;
        start += n;
        n_bytes -= (size_t)n;
    }
    return true;
}
