/* A process that holds a module, as the server sees it: started, spoken to over sockets, ended. */
#pragma once

#include "hsm/host.h"

#include <sys/types.h>

/* What SIGKILL has ended is to be reaped by then; it takes longer only in the kernel's hands. */
#define CHILD_REAP_MS 2000

/* Lanes that are in a call hold it while another takes its place. */
struct child {
	_Atomic(unsigned) refs;
	pid_t pid;
	int pidfd;
	int calls; /* sockets */
	int *lanes;
	unsigned lane_count;
};

/* Starts one with a lane for each session; one reference. patience_ms: for an answer on any socket,
 * until child_set_patience(). */
enum status child_new(const struct keystore_options *opt, int patience_ms,
		      struct child **out) MUST_USE;
void child_unref(struct child *c); /* takes NULL; does not end the process */
/* All its sockets end: who waits for an answer comes back, and the process goes if it can. */
void child_shut(struct child *c);
/* Ends the process, by force once patience_ms are over, and reaps it. Once. */
void child_end(struct child *c, int patience_ms);

enum status child_set_patience(int fd, int ms) MUST_USE;
/* One message of 'len' octets there and one back, over one of its sockets, which nobody else uses
 * meanwhile. ST_ETIMEDOUT; ST_EIO: the process is gone, or talks nonsense. */
enum status child_exchange(int fd, const struct host_request *rq, size_t len,
			   struct host_reply *reply) MUST_USE;
