/* openssl.h - OpenSSL's headers beside ours: their type ERR_STATE has the name of our error code. */
#pragma once
#define ERR_STATE openssl_err_state
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE
