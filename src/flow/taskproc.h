/* taskproc.h - a task's own process: `norn task`, started by the site with the socketpair as descriptor 3.
 *
 * Reads its description from the site, opens the inputs, runs the component's function for its role, and
 * tells the site what came of it: progress, metrics, summary, output tables; the model part is saved under
 * models_dir. stdout and stderr are the task's log. */
#pragma once

/* fd: the socketpair's end; parent: the site's process id: the task dies with it. Returns the exit code: 0
 * when the outcome, good or bad, was told to the site. */
int taskproc_main(int fd, int parent);
