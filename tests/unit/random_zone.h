/* Texts of zones that differ in much, for tests of what lies between two versions. */
#pragma once

#include "version_fixture.h"

#define SIG                                                                                        \
	" 5 RRSIG %s 13 2 300 20300101000000 20200101000000 %u zone.test. "                        \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAA\n"

/* A zone of a small name space in which much comes, goes and changes: TTLs, cuts with what is below
 * them, signatures alone, case, NSEC3 owners. */
static inline void random_zone(uint64_t *rng, unsigned serial, char *out, size_t room)
{
	static const char *const owners[] = {"@", "a", "b", "x.a", "y.a", "x.b", "*.c", "d.e.f"};
	static const char *const hashes[] = {"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
					     "2t7b4g4vsa5smi47k61mv5bv1a22bojr"};
	size_t n = (size_t)snprintf(out, room,
				    "$ORIGIN zone.test.\n$TTL 300\n@ SOA ns h %u 1 1 1 60\n"
				    "@ NS ns.other.\n",
				    serial);
#define PUT(...) n += (size_t)snprintf(out + n, room - n, __VA_ARGS__)
	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
		unsigned bits = next_random(rng);
		unsigned ttl = (bits & 0x300) == 0 ? 60 : 300;
		for (unsigned k = 0; k < (bits & 3); k++) {
			PUT("%s %u A 192.0.2.%u\n", owners[i], ttl, next_random(rng) % 4);
		}
		if ((bits & 3) != 0 && (bits & 4) != 0) {
			PUT("%s" SIG, owners[i], "A", next_random(rng) % 3);
		}
		if ((bits & 3) != 0 && (bits & 12) == 12) {
			PUT("%s" SIG, owners[i], "A", 3 + next_random(rng) % 3);
		}
		if ((bits & 0x30) == 0x30) {
			PUT("%s MX 1 %s.Mail.test.\n", owners[i], (bits & 0x40) != 0 ? "x" : "X");
		}
		if (i == 1 && (bits & 0x80) != 0) {
			PUT("a NS ns.a\nns.a A 192.0.2.%u\n", next_random(rng) % 3);
		}
	}
	for (size_t i = 0; i < 2; i++) {
		unsigned bits = next_random(rng);
		if ((bits & 1) != 0) {
			PUT("%s NSEC3 1 0 0 - %s A\n", hashes[i], hashes[bits >> 1 & 1]);
		}
	}
#undef PUT
	assert_true(n < room);
}
