/* notify.h - what a service tells systemd (sd_notify(3)), without its library. Without NOTIFY_SOCKET nothing happens. */
#pragma once
#include <stdint.h>

/* "READY=1\nSTATUS=..." in one datagram; cut at 400 bytes. What cannot be sent is lost: the service goes on. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* How often systemd wants to hear WATCHDOG=1 from this process; 0: it does not. */
uint64_t notify_watchdog_ms(void);
