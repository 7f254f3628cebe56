// What a model file says of itself, key by key, under GGUF's names without the prefix ("attention.head_count"),
// whatever a format calls them: numbers are checked where they are read, and an error names the key as the file has it,
// what was found and what was needed. Next: families.h, which makes an architecture of it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bareattn::model {

class Settings {
 public:
  virtual ~Settings() = default;
  /// Nothing where the key is absent; FileError where its type is another.
  virtual std::optional<uint64_t> integer(const std::string& key) const = 0;
  virtual std::optional<double> number(const std::string& key) const = 0;
  virtual std::optional<bool> boolean(const std::string& key) const = 0;
  /// One number or a list of them; bools are 0 and 1.
  virtual std::optional<std::vector<double>> numbers(const std::string& key) const = 0;
  virtual std::optional<std::string_view> string(const std::string& key) const = 0;
  /// By GGUF's names: what a file holds decides, where no key says it.
  virtual bool has_tensor(const std::string& name) const = 0;
  /// Throws the FileError; `sentence` follows the quoted key.
  [[noreturn]] virtual void fail(const std::string& key, const std::string& sentence) const = 0;

  /// In [1, limit]; `fallback` where the key is absent, 0 for a key that must be there.
  int positive(const std::string& key, uint64_t limit, uint64_t fallback = 0) const;
  /// Over 0 and up to the limit; `fallback` where the key is absent.
  float positive_float(const std::string& key, double fallback, double limit) const;
  /// The same of a key that must be there.
  float needed_float(const std::string& key, double limit) const;
  /// The same, where 0 says what an absent key says: multipliers and caps that are not there.
  float float_unless_zero(const std::string& key, double fallback, double limit = 1e6) const;
};

}  // namespace bareattn::model
