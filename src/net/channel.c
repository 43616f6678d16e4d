#include "net/channel.h"
#include <string.h>

static const char *const role_names[ROLE_COUNT] = {"guest", "host", "arbiter", "local"};

const char *role_name(enum role r)
{
    return (unsigned)r < ROLE_COUNT ? role_names[r] : "unknown";
}

bool role_parse(const char *s, enum role *out)
{
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        if (strcmp(s, role_names[i]) != 0) continue;
        *out = (enum role)i;
        return true;
    }
    return false;
}

bool tag_valid(const char *tag)
{
    size_t n = 0;
    for (; tag[n]; n++) {
        char c = tag[n];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                  c == '.' || c == '-';
        if (!ok || n == TAG_MAX) return false;
    }
    return n > 0;
}
