/* Lines of logs on their way into a support bundle. Laws: whatever stands there is taken; no run of 9 to 20 digits and
 * nothing in double quotes is left of a line that is no JSON. */
#include "base/arena.h"
#include "cli/doctor.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctx cx = {.mem = arena_new(64u << 20)};
    const char *out = NULL;
    size_t run = 0, blank = 0;
    while (blank < size && isspace(data[blank]))
        blank++;
    bool json = blank < size && data[blank] == '{';
    if (doctor_scrub(&cx, (const char *)data, size, &out).code || !out) abort();
    for (const char *p = out; !json; p++) {
        run = isdigit((unsigned char)*p) ? run + 1 : 0;
        if (run >= 9 && !isdigit((unsigned char)p[1]) && run <= 20) abort();
        if (*p == '"' && strncmp(p, "\"<cut>\"", 7) != 0 &&
            (p < out + 6 || strncmp(p - 6, "\"<cut>\"", 7) != 0))
            abort();
        if (!*p) break;
    }
    arena_free(cx.mem);
    return 0;
}
