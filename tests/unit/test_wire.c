#include "nsd-core/base/name.h"
#include "nsd-core/base/wire.h"

#include <setjmp.h>

#include <cmocka.h>

static void reads_integers_big_endian(void **state)
{
	static const uint8_t in[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
				     0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10};
	struct wreader r;

	(void)state;
	wreader_init(&r, in, sizeof(in));
	assert_int_equal(wreader_u8(&r), 0x01);
	assert_int_equal(wreader_u16(&r), 0x0203);
	assert_int_equal(wreader_u32(&r), 0x04050607);
	assert_true(wreader_u64(&r) == UINT64_C(0x08090a0b0c0d0e0f));
	assert_int_equal(wreader_left(&r), 1);
	assert_int_equal(r.err, ST_OK);
}

static void reader_error_sticks(void **state)
{
	static const uint8_t in[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct wreader r;

	(void)state;
	wreader_init(&r, in, 3);
	assert_int_equal(wreader_u32(&r), 0);
	assert_int_equal(r.err, ST_EPARSE);
	/* There are three octets, but the cursor is dead. */
	uint8_t name[NAME_MAX_LEN];
	assert_int_equal(wreader_u8(&r), 0);
	assert_int_equal(wreader_u16(&r), 0);
	assert_true(wreader_u64(&r) == 0);
	assert_null(wreader_bytes(&r, 1).data);
	assert_int_equal(wreader_str8(&r).len, 0);
	assert_null(wreader_name(&r).data);
	assert_int_equal(wreader_name_expand(&r, name), 0);
	assert_int_equal(wreader_left(&r), 0);
	assert_ptr_equal(r.pos, in);
}

static void runs_are_borrowed(void **state)
{
	static const uint8_t in[] = {3, 'a', 'b', 'c', 'd', 'e', 9, 'x'};
	struct wreader r;

	(void)state;
	wreader_init(&r, in, sizeof(in));
	struct bytes s = wreader_str8(&r);
	assert_ptr_equal(s.data, in + 1);
	assert_int_equal(s.len, 3);
	s = wreader_bytes(&r, 2);
	assert_ptr_equal(s.data, in + 4);
	assert_int_equal(wreader_bytes(&r, 0).len, 0);
	assert_int_equal(r.err, ST_OK);
	/* A length that runs past the end. */
	s = wreader_str8(&r);
	assert_null(s.data);
	assert_int_equal(s.len, 0);
	assert_int_equal(r.err, ST_EPARSE);
}

static void length_near_the_top_does_not_wrap(void **state)
{
	static const uint8_t in[4];
	struct wreader r;

	(void)state;
	wreader_init(&r, in, sizeof(in));
	assert_null(wreader_bytes(&r, SIZE_MAX).data);
	assert_int_equal(r.err, ST_EPARSE);
}

static void plain_name_refuses_a_pointer(void **state)
{
	static const uint8_t in[] = {1, 'a', 0, 1, 'b', 0xc0, 0};
	struct wreader r;

	(void)state;
	wreader_init(&r, in, sizeof(in));
	struct bytes n = wreader_name(&r);
	assert_ptr_equal(n.data, in);
	assert_int_equal(n.len, 3);
	n = wreader_name(&r);
	assert_null(n.data);
	assert_int_equal(r.err, ST_EPARSE);
}

#define W(...) {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

static void compressed_names(void **state)
{
	static const struct {
		const char *what;
		uint8_t msg[32];
		size_t msg_len;
		size_t at;
		const char *text; /* NULL: malformed */
		size_t used;
	} cases[] = {
		{"root", W(0), 0, ".", 1},
		{"plain", W(1, 'a', 2, 'b', 'c', 0, 9), 0, "a.bc.", 6},
		{"pointer only", W(1, 'a', 0, 0xc0, 0), 3, "a.", 2},
		{"label and pointer", W(1, 'a', 0, 1, 'b', 0xc0, 0, 7), 3, "b.a.", 4},
		{"pointer to the root", W(0, 1, 'b', 0xc0, 0), 1, "b.", 4},
		{"two jumps", W(1, 'a', 0, 1, 'b', 0xc0, 0, 1, 'c', 0xc0, 3), 7, "c.b.a.", 4},
		{"into the middle", W(1, 'a', 1, 'b', 0, 0xc0, 2), 5, "b.", 2},
		{"to itself", W(0xc0, 0), 0, NULL, 0},
		{"loop through a label", W(1, 'a', 0xc0, 0), 0, NULL, 0},
		{"loop of two", W(0xc0, 2, 0xc0, 0), 2, NULL, 0},
		{"forward", W(0xc0, 2, 1, 'a', 0), 0, NULL, 0},
		{"into its own labels", W(0, 1, 'a', 1, 'b', 0xc0, 3), 1, NULL, 0},
		{"half a pointer", W(0, 0xc0), 1, NULL, 0},
		{"past the end", W(0xc0, 40), 0, NULL, 0},
		{"no end", W(1, 'a'), 0, NULL, 0},
		{"label past the end", W(5, 'a', 'b'), 0, NULL, 0},
		{"reserved 01", W(0, 0x41, 'a', 0), 1, NULL, 0},
		{"reserved 10", W(0, 0x80, 'a', 0), 1, NULL, 0},
		{"nothing", W(0), 1, NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wreader r;
		uint8_t name[NAME_MAX_LEN];
		char text[NAME_TEXT_MAX];
		memset(name, 0xee, sizeof(name));
		wreader_init(&r, cases[i].msg, cases[i].msg_len);
		wreader_bytes(&r, cases[i].at);
		size_t len = wreader_name_expand(&r, name);
		if (cases[i].text == NULL) {
			assert_int_equal(len, 0);
			assert_int_equal(r.err, ST_EPARSE);
			for (size_t k = 0; k < sizeof(name); k++) {
				assert_int_equal(name[k], 0xee);
			}
			continue;
		}
		if (len == 0) {
			fail_msg("%s: refused", cases[i].what);
		}
		assert_int_equal(r.err, ST_OK);
		assert_string_equal(name_to_text(name, text), cases[i].text);
		assert_int_equal(len, name_len(name));
		assert_int_equal(r.pos - r.start, cases[i].at + cases[i].used);
	}
}

/* A chain of pointers may not make a name longer than 255 octets; exactly 255 is a name. */
static void expanded_length_is_bounded(void **state)
{
	uint8_t msg[600];
	struct wreader r;
	uint8_t name[NAME_MAX_LEN];

	(void)state;
	memset(msg, 'a', sizeof(msg));
	/* At 0: three labels of 63 and the root: 193 octets. At 193: 61 octets and a pointer: 255.
	 */
	msg[0] = msg[64] = msg[128] = 63;
	msg[192] = 0;
	msg[193] = 61;
	be16_put(msg + 255, 0xc000);
	wreader_init(&r, msg, sizeof(msg));
	wreader_bytes(&r, 193);
	assert_int_equal(wreader_name_expand(&r, name), 255);
	assert_int_equal(name_len(name), 255);
	msg[193] = 62;
	be16_put(msg + 256, 0xc000);
	wreader_init(&r, msg, sizeof(msg));
	wreader_bytes(&r, 193);
	assert_int_equal(wreader_name_expand(&r, name), 0);
	assert_int_equal(r.err, ST_EPARSE);
}

static void writes_what_the_reader_reads(void **state)
{
	static const uint8_t want[] = {1,  2,  3,  4,  5,  6,	7,   8, 9,  10,
				       11, 12, 13, 14, 15, 'x', 'y', 1, 'z'};
	uint8_t buf[32];
	struct wwriter w;

	(void)state;
	wwriter_init(&w, buf, sizeof(buf));
	wwriter_u8(&w, 1);
	wwriter_u16(&w, 0x0203);
	wwriter_u32(&w, 0x04050607);
	wwriter_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
	wwriter_put(&w, "xy", 2);
	wwriter_put(&w, NULL, 0);
	wwriter_str8(&w, "z", 1);
	assert_int_equal(w.err, ST_OK);
	assert_int_equal(wwriter_len(&w), sizeof(want));
	assert_int_equal(wwriter_left(&w), sizeof(buf) - sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
}

static void writer_error_sticks(void **state)
{
	uint8_t buf[8];
	struct wwriter w;

	(void)state;
	memset(buf, 0xee, sizeof(buf));
	wwriter_init(&w, buf, 3);
	wwriter_u16(&w, 0x0102);
	wwriter_u16(&w, 0x0304);
	assert_int_equal(w.err, ST_ESPACE);
	wwriter_u8(&w, 9);
	wwriter_put(&w, "a", 1);
	wwriter_str8(&w, "", 0);
	assert_int_equal(wwriter_len(&w), 2);
	assert_int_equal(wwriter_left(&w), 0);
	for (size_t i = 2; i < sizeof(buf); i++) {
		assert_int_equal(buf[i], 0xee);
	}
}

static void character_string_is_at_most_255(void **state)
{
	static const uint8_t long_string[256];
	uint8_t buf[600];
	struct wwriter w;

	(void)state;
	wwriter_init(&w, buf, sizeof(buf));
	wwriter_str8(&w, long_string, 255);
	assert_int_equal(w.err, ST_OK);
	assert_int_equal(buf[0], 255);
	wwriter_str8(&w, long_string, 256);
	assert_int_equal(w.err, ST_ESPACE);
	assert_int_equal(wwriter_len(&w), 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_integers_big_endian),
		cmocka_unit_test(reader_error_sticks),
		cmocka_unit_test(runs_are_borrowed),
		cmocka_unit_test(length_near_the_top_does_not_wrap),
		cmocka_unit_test(plain_name_refuses_a_pointer),
		cmocka_unit_test(compressed_names),
		cmocka_unit_test(expanded_length_is_bounded),
		cmocka_unit_test(writes_what_the_reader_reads),
		cmocka_unit_test(writer_error_sticks),
		cmocka_unit_test(character_string_is_at_most_255),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
