/* The control socket: what signetctl speaks to (docs/control.md has the protocol). Main thread, but
 * for dumps, which a thread of their own writes. */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/worker.h"
#include "nsd-core/zonemgr.h"

struct control;
struct monitor;
struct notifier;

/* Listens on conf->server.control: mode 0660, its folder made where it lacks; a socket that nobody
 * answers on is replaced. 'stop' is called on the loop for the command of that name. All but d is
 * borrowed until control_stop(). ST_EEXIST: a server answers there. ST_EACCES, ST_EIO. */
enum status control_start(uv_loop_t *loop, const struct conf *conf, struct zonemgr *mgr,
			  struct workers *workers, void (*stop)(void *ctx), void *ctx,
			  struct control **out, struct diags *d) MUST_USE;
/* Who tells secondaries, for 'zone show'; borrowed until control_stop(). */
void control_set_notifier(struct control *c, const struct notifier *n);
/* Who watches them, for 'status' too; borrowed until control_stop(). */
void control_set_monitor(struct control *c, const struct monitor *m);
/* Takes NULL. Closes all connections and removes the socket; the memory goes once the loop has
 * closed the handles (uv_run() until no handle is left). Before zonemgr_stop() and workers_free().
 */
void control_stop(struct control *c);
