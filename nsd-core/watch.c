#include "nsd-core/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

void file_stamps_fini(struct file_stamps *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->items[i].path);
	}
	free(s->items);
	*s = (struct file_stamps){.items = NULL};
}

static void stamp(struct file_stamp *f, int64_t since_ns)
{
	struct stat sb;

	/* What cannot be looked at is as good as absent here: reading it says why. */
	if (stat(f->path, &sb) != 0) {
		return;
	}
	f->present = true;
	f->device = sb.st_dev;
	f->inode = sb.st_ino;
	f->size = (uint64_t)sb.st_size;
	f->mtime_ns = sb.st_mtim.tv_sec * NS_PER_S + sb.st_mtim.tv_nsec;
	if (f->mtime_ns >= since_ns) {
		f->size = UINT64_MAX;
	}
}

enum status file_stamps_take(const char *const *paths, size_t count, int64_t since_ns,
			     struct file_stamps *out)
{
	struct file_stamps s = {.items = calloc(count + 1, sizeof(*s.items))};

	if (s.items == NULL) {
		return ST_ENOMEM;
	}
	for (; s.count < count; s.count++) {
		struct file_stamp *f = &s.items[s.count];
		f->path = strdup(paths[s.count]);
		if (f->path == NULL) {
			file_stamps_fini(&s);
			return ST_ENOMEM;
		}
		stamp(f, since_ns);
	}
	*out = s;
	return ST_OK;
}

enum status file_stamps_again(const struct file_stamps *s, struct file_stamps *out)
{
	const char **paths = calloc(s->count + 1, sizeof(*paths));

	if (paths == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < s->count; i++) {
		paths[i] = s->items[i].path;
	}
	enum status st = file_stamps_take(paths, s->count, INT64_MAX, out);
	free(paths);
	return st;
}

bool file_stamps_equal(const struct file_stamps *a, const struct file_stamps *b)
{
	if (a->count != b->count) {
		return false;
	}
	for (size_t i = 0; i < a->count; i++) {
		const struct file_stamp *x = &a->items[i];
		const struct file_stamp *y = &b->items[i];
		if (strcmp(x->path, y->path) != 0 || x->present != y->present ||
		    x->device != y->device || x->inode != y->inode || x->size != y->size ||
		    x->mtime_ns != y->mtime_ns) {
			return false;
		}
	}
	return true;
}

bool file_stamps_present(const struct file_stamps *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!s->items[i].present) {
			return false;
		}
	}
	return true;
}

int64_t file_stamps_now_ns(void)
{
	struct timespec ts;

	/* Files are stamped with the clock of the last tick, which lies behind the fine one. */
	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* A path, cut into folder and file. */
struct watch_file {
	const char *path;
	size_t folder_len; /* up to the last '/'; 0: the current folder */
	const char *name;
	size_t index;
};

struct folder {
	uv_fs_event_t event;
	struct watch *watch;
	size_t first, count; /* in watch->files */
};

struct watch {
	watch_touched touched;
	void *ctx;
	bool stopped;
	size_t open;		  /* handles to be closed before the memory goes */
	struct watch_file *files; /* by folder, then by name */
	size_t file_count;
	struct folder *folders;
	size_t folder_count;
};

static int compare_folders(const struct watch_file *a, const struct watch_file *b)
{
	size_t len = a->folder_len < b->folder_len ? a->folder_len : b->folder_len;
	int order = memcmp(a->path, b->path, len);

	if (order != 0) {
		return order;
	}
	return (a->folder_len > b->folder_len) - (a->folder_len < b->folder_len);
}

static int compare_files(const void *a, const void *b)
{
	const struct watch_file *x = a;
	const struct watch_file *y = b;
	int order = compare_folders(x, y);

	return order != 0 ? order : strcmp(x->name, y->name);
}

static void watch_free(struct watch *w)
{
	free(w->files);
	free(w->folders);
	free(w);
}

static void on_event(uv_fs_event_t *event, const char *filename, int events, int status)
{
	struct folder *f = event->data;
	struct watch *w = f->watch;
	size_t low = f->first;
	size_t end = f->first + f->count;

	(void)events;
	if (status != 0 || w->stopped) {
		return;
	}
	if (filename == NULL) {
		for (size_t i = low; i < end; i++) {
			w->touched(w->ctx, w->files[i].index);
		}
		return;
	}
	for (size_t high = end; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(w->files[middle].name, filename) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	for (; low < end && strcmp(w->files[low].name, filename) == 0; low++) {
		w->touched(w->ctx, w->files[low].index);
	}
}

static void folder_open(struct watch *w, uv_loop_t *loop, struct folder *f, struct diags *d)
{
	const struct watch_file *file = &w->files[f->first];
	char *path = file->folder_len == 0 ? strdup(".") : strndup(file->path, file->folder_len);
	int err = UV_ENOMEM;

	f->watch = w;
	f->event.data = f;
	/* Cannot fail on Linux; the handle must be closed from here on. */
	uv_fs_event_init(loop, &f->event);
	w->open++;
	if (path != NULL) {
		err = uv_fs_event_start(&f->event, on_event, path, 0);
	}
	if (err != 0) {
		diags_warn(d, "folder %s cannot be watched (%s): changes are noticed later",
			   path != NULL ? path : "", uv_strerror(err));
	}
	free(path);
}

static enum status files_sort(struct watch *w, const char *const *paths, size_t count)
{
	w->files = calloc(count + 1, sizeof(*w->files));
	w->folders = calloc(count + 1, sizeof(*w->folders));
	if (w->files == NULL || w->folders == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		const char *slash = strrchr(paths[i], '/');
		w->files[i] = (struct watch_file){
			.path = paths[i],
			.folder_len = slash == NULL ? 0 : (size_t)(slash - paths[i]) + 1,
			.name = slash == NULL ? paths[i] : slash + 1,
			.index = i,
		};
	}
	w->file_count = count;
	qsort(w->files, count, sizeof(*w->files), compare_files);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || compare_folders(&w->files[i - 1], &w->files[i]) != 0) {
			w->folders[w->folder_count++].first = i;
		}
		w->folders[w->folder_count - 1].count++;
	}
	return ST_OK;
}

enum status watch_start(uv_loop_t *loop, const char *const *paths, size_t count,
			watch_touched touched, void *ctx, struct watch **out, struct diags *d)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		return ST_ENOMEM;
	}
	w->touched = touched;
	w->ctx = ctx;
	enum status st = files_sort(w, paths, count);
	if (st != ST_OK) {
		watch_free(w);
		return st;
	}
	for (size_t i = 0; i < w->folder_count; i++) {
		folder_open(w, loop, &w->folders[i], d);
	}
	*out = w;
	return ST_OK;
}

static void on_closed(uv_handle_t *handle)
{
	struct folder *f = handle->data;
	struct watch *w = f->watch;

	if (--w->open == 0) {
		watch_free(w);
	}
}

void watch_stop(struct watch *w)
{
	if (w == NULL) {
		return;
	}
	w->stopped = true;
	if (w->folder_count == 0) {
		watch_free(w);
		return;
	}
	for (size_t i = 0, n = w->folder_count; i < n; i++) {
		uv_close((uv_handle_t *)&w->folders[i].event, on_closed);
	}
}
