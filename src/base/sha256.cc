// See sha256.h.
#include "base/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>
#include <vector>

namespace bareattn::base {

struct Sha256::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(context); }
};

namespace {
void require(bool ok) {
  if (!ok) throw std::runtime_error("SHA-256 is not available from the OpenSSL library on this machine");
}
}  // namespace

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  if (impl_->context == nullptr) throw std::bad_alloc();
  require(EVP_DigestInit_ex(impl_->context, EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  require(EVP_DigestFinal_ex(impl_->context, digest.data(), &size) == 1);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(bytes)));
  return hash.finish();
}

std::string sha256(const MappedFile& file) {
  Sha256 hash;
  std::vector<std::byte> piece(std::min<uint64_t>(file.size(), 1 << 20));
  for (uint64_t offset = 0; offset < file.size(); offset += piece.size()) {
    const auto part = std::span(piece).first(std::min<uint64_t>(piece.size(), file.size() - offset));
    file.read_at(offset, part);
    hash.update(part);
  }
  return hash.finish();
}

}  // namespace bareattn::base
