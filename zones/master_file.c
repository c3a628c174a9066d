#include "zones/master.h"

#include "nsd-core/base/bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Places have 32-bit lines and columns, and no zone that fits in memory comes near this. */
#define FILE_MAX ((size_t)4 << 30)

static enum status failed(int err, const char **why)
{
	enum status st = status_from_errno(err);
	*why = strerror(err);
	return st == ST_ENOENT || st == ST_EACCES || st == ST_ENOMEM ? st : ST_EIO;
}

/* Reads to the end, which may lie elsewhere than fstat() said. Not mmap(): a file that is cut while
 * being read must not be a SIGBUS. */
static enum status read_all(int fd, struct file_text *f, const char **why)
{
	for (;;) {
		if (f->len == f->room) {
			size_t more = f->room * 2;
			char *text = more > FILE_MAX * 2 ? NULL : bulk_grow(f->text, f->room, more);
			if (text == NULL) {
				*why = "out of memory";
				return ST_ENOMEM;
			}
			f->text = text;
			f->room = more;
		}
		ssize_t n = read(fd, f->text + f->len, f->room - f->len);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return failed(errno, why);
		}
		if (n == 0) {
			return ST_OK;
		}
		f->len += (size_t)n;
		if (f->len > FILE_MAX) {
			*why = "larger than 4 GiB";
			return ST_ELIMIT;
		}
	}
}

void file_text_free(struct file_text *f)
{
	bulk_free(f->text, f->room);
	f->text = NULL;
}

enum status file_text_read(const char *path, struct file_text *out, const char **why)
{
	struct file_text f = {0};
	struct stat info;
	enum status st;
	/* Not to wait for ever on a pipe that was named by mistake. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		return failed(errno, why);
	}
	if (fstat(fd, &info) != 0) {
		st = failed(errno, why);
		goto out;
	}
	if (!S_ISREG(info.st_mode)) {
		*why = S_ISDIR(info.st_mode) ? "is a directory" : "is not a regular file";
		st = ST_EIO;
		goto out;
	}
	if ((uint64_t)info.st_size > FILE_MAX) {
		*why = "larger than 4 GiB";
		st = ST_ELIMIT;
		goto out;
	}
	f.device = info.st_dev;
	f.inode = info.st_ino;
	/* One octet more, so that the end is seen without growing. */
	f.room = (size_t)info.st_size + 4096;
	f.text = bulk_alloc(f.room);
	if (f.text == NULL) {
		*why = "out of memory";
		st = ST_ENOMEM;
		goto out;
	}
	st = read_all(fd, &f, why);
	if (st == ST_OK) {
		*out = f;
		f.text = NULL;
	}
out:
	file_text_free(&f);
	close(fd);
	return st;
}
