/* What tests of keystores share: a temporary folder, tokens, the wrapper's control, jobs. All of it
 * fails the running cmocka test where it cannot do its work. */
#pragma once

#include "hsm/hsm.h"

#include <sys/types.h>

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"

/* A new folder; the caller gives it to temp_remove(). */
char *temp_make(void);
void temp_remove(char *path);
/* Into one of a few static buffers: for paths in the folder. */
const char *temp_path(const char *dir, const char *name);
/* Made anew and renamed into place. */
void file_write(const char *path, const char *text);

/* Runs the command to its end, quietly; its exit status. The list ends with NULL. */
int run(const char *const *argv);
/* Starts it in a process group of its own; its pid. */
pid_t start(const char *const *argv);

/* An empty SoftHSM under 'dir', for this process and what it starts. */
void softhsm_use(const char *dir);
void softhsm_token(const char *label, const char *pin);

/* The wrapper, around 'module'. */
void wrap_use(const char *dir, const char *module);
/* One rule (see p11wrap.c), or none. */
void wrap_rule(const char *function, const char *action, unsigned long value, long times);
void wrap_clear(void);
/* Calls of the function since wrap_use(). */
unsigned wrap_calls(const char *function);

/* Waits until the condition holds; fails the test after ten seconds. */
#define EVENTUALLY(condition)                                                                      \
	do {                                                                                       \
		for (int wait_ms_ = 0; !(condition); wait_ms_++) {                                 \
			assert_true(wait_ms_ < 10000);                                             \
			pause_ms();                                                                \
		}                                                                                  \
	} while (0)
void pause_ms(void);

/* Jobs whose results may be waited for. */
struct jobs;
struct jobs *jobs_new(size_t count);
void jobs_free(struct jobs *j); /* after all are done */
struct hsm_job *jobs_at(struct jobs *j, size_t i);
/* Submits job i with a digest of its own. */
enum status jobs_submit(struct jobs *j, size_t i, struct keystore *ks, enum hsm_priority priority,
			struct hsm_key *key);
size_t jobs_done(struct jobs *j);
void jobs_wait(struct jobs *j, size_t count);
/* Position in which job i was done, from 1; 0: not yet. */
size_t jobs_order(struct jobs *j, size_t i);
/* One job, to its end. */
enum status sign_one(struct keystore *ks, struct hsm_key *key);
