/* Keyed digests: what the RFCs say comes out. */
#include "nsd-core/base/hmac.h"
#include "nsd-core/base/text.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OCTETS_MAX 256

struct known {
	enum hmac_type type;
	const char *secret;
	const char *data;
	const char *mac;
};

/* RFC 4231 4.2-4.5, 4.7, 4.8; RFC 2202 3. */
static const struct known known[] = {
	{HMAC_SHA256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
	{HMAC_SHA256, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	{HMAC_SHA256, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	 "dddddddddddddddddddddddddddd",
	 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
	{HMAC_SHA256, "0102030405060708090a0b0c0d0e0f10111213141516171819",
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	 "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
	{HMAC_SHA256,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b65"
	 "79202d2048617368204b6579204669727374",
	 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	{HMAC_SHA256,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "5468697320697320612074657374207573696e672061206c6172676572207468616e2062"
	 "6c6f636b2d73697a65206b657920616e642061206c6172676572207468616e20626c6f63"
	 "6b2d73697a6520646174612e20546865206b6579206e6565647320746f20626520686173"
	 "686564206265666f7265206265696e6720757365642062792074686520484d414320616c"
	 "676f726974686d2e",
	 "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
	{HMAC_SHA384, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	 "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9"
	 "076ede7f4af152e8b2fa9cb6"},
	{HMAC_SHA384, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca"
	 "5e69e2c78b3239ecfab21649"},
	{HMAC_SHA384, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	 "dddddddddddddddddddddddddddd",
	 "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39d"
	 "c13814b94e3ab6e101a34f27"},
	{HMAC_SHA384, "0102030405060708090a0b0c0d0e0f10111213141516171819",
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	 "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23"
	 "c4a7d679ccf8a386c674cffb"},
	{HMAC_SHA384,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b65"
	 "79202d2048617368204b6579204669727374",
	 "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab"
	 "4030fe8296248df163f44952"},
	{HMAC_SHA384,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "5468697320697320612074657374207573696e672061206c6172676572207468616e2062"
	 "6c6f636b2d73697a65206b657920616e642061206c6172676572207468616e20626c6f63"
	 "6b2d73697a6520646174612e20546865206b6579206e6565647320746f20626520686173"
	 "686564206265666f7265206265696e6720757365642062792074686520484d414320616c"
	 "676f726974686d2e",
	 "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31"
	 "e799176d3860e6110c46523e"},
	{HMAC_SHA512, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	 "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7"
	 "d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
	{HMAC_SHA512, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75"
	 "c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
	{HMAC_SHA512, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	 "dddddddddddddddddddddddddddd",
	 "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e8482"
	 "79a722c806b485a47e67c807b946a337bee8942674278859e13292fb"},
	{HMAC_SHA512, "0102030405060708090a0b0c0d0e0f10111213141516171819",
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	 "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c1"
	 "1aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"},
	{HMAC_SHA512,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b65"
	 "79202d2048617368204b6579204669727374",
	 "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037"
	 "e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"},
	{HMAC_SHA512,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "5468697320697320612074657374207573696e672061206c6172676572207468616e2062"
	 "6c6f636b2d73697a65206b657920616e642061206c6172676572207468616e20626c6f63"
	 "6b2d73697a6520646174612e20546865206b6579206e6565647320746f20626520686173"
	 "686564206265666f7265206265696e6720757365642062792074686520484d414320616c"
	 "676f726974686d2e",
	 "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac"
	 "3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"},
	{HMAC_SHA1, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	 "b617318655057264e28bc0b6fb378c8ef146be00"},
	{HMAC_SHA1, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
	{HMAC_SHA1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	 "dddddddddddddddddddddddddddd",
	 "125d7342b9ac11cd91a39af48aa17b4f63f175d3"},
	{HMAC_SHA1, "0102030405060708090a0b0c0d0e0f10111213141516171819",
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	 "4c9007f4026250c6bc8414f9bf50c86c2d7235da"},
	{HMAC_SHA1, "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
	 "546573742057697468205472756e636174696f6e", "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"},
	{HMAC_SHA1,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaa",
	 "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b65"
	 "79202d2048617368204b6579204669727374",
	 "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
	{HMAC_SHA1,
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaa",
	 "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b65"
	 "7920616e64204c6172676572205468616e204f6e6520426c6f636b2d53697a6520446174"
	 "61",
	 "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"},
};

#define KNOWN (sizeof(known) / sizeof(known[0]))

static struct bytes octets(const char *hex, uint8_t buf[OCTETS_MAX])
{
	struct bytes b = {buf, 0};
	assert_int_equal(hex_decode(hex, strlen(hex), buf, OCTETS_MAX, &b.len), ST_OK);
	return b;
}

static struct hmac_key *key_of(const struct known *k)
{
	uint8_t buf[OCTETS_MAX];
	struct hmac_key *key = NULL;
	assert_int_equal(hmac_key_new(k->type, octets(k->secret, buf), &key), ST_OK);
	/* It has its own copy. */
	memset(buf, 0, sizeof(buf));
	assert_int_equal(hmac_key_type(key), k->type);
	return key;
}

static void known_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < KNOWN; i++) {
		uint8_t data[OCTETS_MAX];
		uint8_t want[OCTETS_MAX];
		uint8_t out[HMAC_MAX + 1];
		struct bytes piece = octets(known[i].data, data);
		struct bytes mac = octets(known[i].mac, want);
		struct hmac_key *key = key_of(&known[i]);
		assert_int_equal(hmac_size(known[i].type), mac.len);
		/* Twice: a use leaves the key as it was. */
		for (unsigned n = 0; n < 2; n++) {
			memset(out, 0xee, sizeof(out));
			assert_int_equal(hmac_of(key, &piece, 1, out), ST_OK);
			assert_memory_equal(out, want, mac.len);
			assert_int_equal(out[mac.len], 0xee);
		}
		hmac_key_free(key);
	}
	hmac_key_free(NULL);
}

static void pieces_are_joined(void **state)
{
	(void)state;
	for (size_t i = 0; i < KNOWN; i++) {
		uint8_t data[OCTETS_MAX];
		uint8_t whole_mac[HMAC_MAX];
		uint8_t out[HMAC_MAX];
		struct bytes whole = octets(known[i].data, data);
		struct hmac_key *key = key_of(&known[i]);
		assert_int_equal(hmac_of(key, &whole, 1, whole_mac), ST_OK);
		for (size_t cut = 0; cut <= whole.len; cut++) {
			const struct bytes pieces[] = {
				{data, cut}, {NULL, 0}, {data + cut, whole.len - cut}};
			assert_int_equal(hmac_of(key, pieces, 3, out), ST_OK);
			assert_memory_equal(out, whole_mac, hmac_size(known[i].type));
		}
		hmac_key_free(key);
	}
}

static void nothing_has_a_mac_too(void **state)
{
	uint8_t none[HMAC_MAX];
	uint8_t empty[HMAC_MAX];
	const struct bytes piece = {NULL, 0};
	struct hmac_key *key = key_of(&known[0]);

	(void)state;
	assert_int_equal(hmac_of(key, NULL, 0, none), ST_OK);
	assert_int_equal(hmac_of(key, &piece, 1, empty), ST_OK);
	assert_memory_equal(none, empty, hmac_size(HMAC_SHA256));
	hmac_key_free(key);
}

static void equal_octets(void **state)
{
	uint8_t a[HMAC_MAX] = {1, 2, 3};
	uint8_t b[HMAC_MAX] = {1, 2, 3};

	(void)state;
	assert_true(hmac_equal(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 0x80;
		assert_false(hmac_equal(a, b, sizeof(a)));
		assert_true(hmac_equal(a, b, i));
		b[i] ^= 0x80;
	}
}

#define THREADS 4
#define ROUNDS	500

struct sharer {
	const struct hmac_key *key;
	struct bytes data;
	struct bytes mac;
	unsigned wrong;
};

static void *share(void *arg)
{
	struct sharer *s = arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint8_t out[HMAC_MAX];
		if (hmac_of(s->key, &s->data, 1, out) != ST_OK ||
		    !hmac_equal(out, s->mac.data, s->mac.len)) {
			s->wrong++;
		}
	}
	return NULL;
}

static void threads_share_a_key(void **state)
{
	uint8_t data[OCTETS_MAX];
	uint8_t mac[OCTETS_MAX];
	pthread_t threads[THREADS];
	struct sharer sharers[THREADS];
	struct hmac_key *key = key_of(&known[0]);

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		sharers[i] = (struct sharer){
			.key = key,
			.data = octets(known[0].data, data),
			.mac = octets(known[0].mac, mac),
		};
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, share, &sharers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(sharers[i].wrong, 0);
	}
	hmac_key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),	 cmocka_unit_test(pieces_are_joined),
		cmocka_unit_test(nothing_has_a_mac_too), cmocka_unit_test(equal_octets),
		cmocka_unit_test(threads_share_a_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
