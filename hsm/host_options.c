#include "hsm/host.h"

#include "nsd-core/base/wire.h"

#include <string.h>

#define STRINGS 6
#define NONE	0xffff

/* A length and the octets with their NUL; NONE: NULL. */
static void put_string(struct wwriter *w, const char *text)
{
	size_t len = text != NULL ? strlen(text) + 1 : 0;

	if (len >= NONE) {
		w->err = ST_ESPACE;
		return;
	}
	wwriter_u16(w, text != NULL ? (uint16_t)len : NONE);
	if (text != NULL) {
		wwriter_put(w, text, len);
	}
}

static const char *get_string(struct wreader *r)
{
	uint16_t len = wreader_u16(r);

	if (len == NONE || r->err != ST_OK) {
		return NULL;
	}
	struct bytes text = wreader_bytes(r, len);
	if (r->err != ST_OK || len == 0 || text.data[len - 1] != '\0') {
		wreader_fail(r);
		return NULL;
	}
	return (const char *)text.data;
}

enum status host_options_encode(const struct keystore_options *opt, uint8_t *buf, size_t room,
				size_t *len)
{
	const char *const strings[STRINGS] = {opt->name, opt->module,	opt->token,
					      opt->uri,	 opt->pin_file, opt->init_args};
	struct wwriter w;

	wwriter_init(&w, buf, room);
	wwriter_u64(&w, (uint64_t)opt->slot);
	wwriter_u32(&w, opt->sessions);
	for (size_t i = 0; i < STRINGS; i++) {
		put_string(&w, strings[i]);
	}
	if (w.err == ST_OK) {
		*len = wwriter_len(&w);
	}
	return w.err;
}

enum status host_options_decode(uint8_t *buf, size_t len, struct keystore_options *out)
{
	const char *strings[STRINGS];
	struct wreader r;

	wreader_init(&r, buf, len);
	struct keystore_options opt = {.type = KEYSTORE_PKCS11};
	opt.slot = (int64_t)wreader_u64(&r);
	opt.sessions = wreader_u32(&r);
	for (size_t i = 0; i < STRINGS; i++) {
		strings[i] = get_string(&r);
	}
	if (r.err != ST_OK || wreader_left(&r) != 0 || strings[0] == NULL || strings[1] == NULL) {
		return ST_EPARSE;
	}
	opt.name = strings[0];
	opt.module = strings[1];
	opt.token = strings[2];
	opt.uri = strings[3];
	opt.pin_file = strings[4];
	opt.init_args = strings[5];
	*out = opt;
	return ST_OK;
}
