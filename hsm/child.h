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

/* Starts one with a lane for each session; one reference. patience_ms: for an answer to a call,
 * until child_set_patience(); lanes have LANE_STUCK_MS. */
enum status child_new(const struct keystore_options *opt, int patience_ms,
		      struct child **out) MUST_USE;
void child_unref(struct child *c); /* takes NULL; does not end the process */
/* All its sockets end: who waits for an answer comes back, and the process goes if it can. */
void child_shut(struct child *c);
/* Ends the process, by force once patience_ms are over, and reaps it. Once. */
void child_end(struct child *c, int patience_ms);

enum status child_set_patience(int fd, int ms) MUST_USE;
/* What came in one message and is not read yet; zero: nothing. */
struct child_inbox {
	uint8_t data[HOST_BATCH_MAX * HOST_REPLY_SHORT];
	size_t len, at;
};

/* One message of 'len' octets. False: it is lost, and so is the socket. */
bool child_send(int fd, const struct host_request *rq, size_t len);
/* The next reply, which is to be that to the request of this number. ST_ETIMEDOUT: none came within
 * the socket's patience; ST_EIO: the process is gone, or talks nonsense. */
enum status child_receive(int fd, struct child_inbox *in, uint32_t number,
			  struct host_reply *reply) MUST_USE;
