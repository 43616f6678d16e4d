#include "base/num.h"
#include "cli/cmd.h"
#include "flow/taskproc.h"
#include <string.h>

/* norn task PARENT: started by a site only, never by hand. */
int cmd_task(struct ctx *cx, int argc, char **argv)
{
    int64_t parent = 0;
    if (argc != 2 || !num_parse_i64(argv[1], strlen(argv[1]), &parent) || parent <= 0 || parent > INT32_MAX) {
        (void)FAIL(cx, ARG, "norn task is how a site starts its tasks: use norn job submit").code;
        return cmd_fail(cx, false);
    }
    return taskproc_main(3, (int)parent);
}
