/* proto/handshake: a known answer computed apart from this code (openssl dgst -mac HMAC), and the token's text */
#include "proto/handshake.h"
#include "tests/unit/tap.h"

#include "base/b64.h"

#define CHALLENGE "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define NONCE	  "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="

static void check_proof(enum handshake_side side, const struct secret *token, const char *want)
{
	uint8_t proof[HANDSHAKE_PROOF_SIZE];
	char hex[2 * sizeof(proof) + 1];

	CHECK_INT(handshake_proof(side, token, BYTES_LIT("echo-bot"), BYTES_LIT(CHALLENGE), BYTES_LIT(NONCE), proof),
		  0);
	hex_encode(BYTES(proof, sizeof(proof)), hex);
	CHECK_BYTES(bytes_str(hex), bytes_str(want));
}

static void check_refused(const char *text)
{
	CLEANUP(secret_freep) struct secret *token = NULL;

	CHECK_INT(handshake_parse_token(bytes_str(text), &token), ERR_INVALID_KEY);
}

static void check_token(void)
{
	CLEANUP(secret_freep) struct secret *token = NULL;
	CLEANUP(buf_fini) struct buf text = BUF_INIT(100);
	uint8_t want[32];

	memset(want, 7, sizeof(want));
	CHECK_INT(handshake_parse_token(BYTES_LIT("e2eed1_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n"), &token), 0);
	if (!token)
		return;
	CHECK_BYTES(secret_bytes(token), BYTES(want, sizeof(want)));
	handshake_put_token(&text, token);
	CHECK_BYTES(buf_bytes(&text), BYTES_LIT("e2eed1_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"));
	check_proof(HANDSHAKE_CLIENT, token, "46a97a93813906ec66c6f40555d5addf41fb320c235c21a1f7b1d34106426adb");
	check_proof(HANDSHAKE_SERVER, token, "2f9a0ba6c763982427b7f8d96fe5a4e645ae6928b1ca56627ab8d6ad5f27987a");
}

int main(void)
{
	test_start();
	check_token();
	check_refused("");
	check_refused("e2eed1_");
	check_refused("e2eed1_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw");
	check_refused("e2eed2_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
	check_refused("e2eed1_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw+");
	return test_end();
}
