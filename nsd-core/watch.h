/* Has a file changed? Stamps of files as they were read, and a watch over folders that says when to
 * look. The watch is a hint only (inotify misses some symbolic links, network file systems and full
 * queues): whoever uses it looks again every few seconds. */
#pragma once

#include "nsd-core/base/status.h"

#include <stdbool.h>
#include <uv.h>

struct file_stamp {
	char *path;
	bool present;
	uint64_t device, inode, size;
	int64_t mtime_ns;
};

/* The files that a zone was read from: its own and what that includes. */
struct file_stamps {
	struct file_stamp *items;
	size_t count;
};

void file_stamps_fini(struct file_stamps *s);
/* Stamps of these files as they are now; absent ones too. Blocks. since_ns: what was written at
 * that time or later gets a stamp that equals no other (reading may have missed it); INT64_MAX:
 * nothing. ST_ENOMEM. */
enum status file_stamps_take(const char *const *paths, size_t count, int64_t since_ns,
			     struct file_stamps *out) MUST_USE;
/* The same files, looked at again. */
enum status file_stamps_again(const struct file_stamps *s, struct file_stamps *out) MUST_USE;
bool file_stamps_equal(const struct file_stamps *a, const struct file_stamps *b);
/* Are all there? An editor's rename leaves a moment without. */
bool file_stamps_present(const struct file_stamps *s);
/* Wall clock for since_ns, as file systems stamp. */
int64_t file_stamps_now_ns(void);

struct watch;

/* Something happened to paths[index], perhaps. On the loop. */
typedef void (*watch_touched)(void *ctx, size_t index);

/* Watches the folders of the paths, each folder once. Paths are borrowed until watch_stop(). A
 * folder that cannot be watched is a warning in d. ST_ENOMEM. */
enum status watch_start(uv_loop_t *loop, const char *const *paths, size_t count,
			watch_touched touched, void *ctx, struct watch **out,
			struct diags *d) MUST_USE;
/* The memory goes once the loop has closed the handles. Takes NULL. */
void watch_stop(struct watch *w);
