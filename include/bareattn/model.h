// A pretrained transformer (Model: immutable after loading, every method const) and a run of it (Session: mutable, one
// per conversation, holds the KV cache). Llama family from GGUF files.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bareattn/architecture.h"
#include "bareattn/length.h"
#include "bareattn/points.h"
#include "bareattn/tokenizer.h"

namespace bareattn {

enum class Precision { f32, bf16 };
const char* precision_name(Precision precision);  // "f32", "bf16"

struct LoadOptions {
  Precision precision = Precision::f32;  // of the projections
  Precision attention = Precision::f32;  // of attention: bf16 rounds queries, keys, values and weights (Compute::bf16)
  int threads = 0;                       // 0: all cores
};

struct ScoreTable;  // score_table.h
struct Variant;     // variant.h

class Model {
 public:
  /// Maps and checks the file. FileError where it cannot be used.
  static std::shared_ptr<const Model> load(const std::string& path, const LoadOptions& options = {});
  virtual ~Model() = default;
  virtual const Architecture& architecture() const = 0;
  const ModelConfig& config() const { return architecture(); }  // its sizes
  virtual const Tokenizer& tokenizer() const = 0;
  virtual Precision precision() const = 0;  // of the projections
  virtual Precision attention() const { return Precision::f32; }
  virtual const std::string& path() const = 0;
  virtual int64_t parameters() const = 0;
  /// What is odd about the file but no reason to refuse it ("tensor 'x' holds weights that are NaN or infinite").
  virtual const std::vector<std::string>& warnings() const = 0;
  /// SHA-256 of the file, lower-case hex (computed on first use; FileError where the file has changed since loading).
  virtual std::string sha256() const = 0;
};

/// Both precisions in words: "f32", "bf16", "f32, attention bf16".
std::string precision_text(const Model& model);

/// Called with tokens done and tokens in all; returning false stops the run (Cancelled is thrown).
using Progress = std::function<bool(int64_t done, int64_t total)>;

struct SessionOptions {
  int threads = 0;         // 0: all cores. The bits of every result are the same for any number.
  int64_t max_tokens = 0;  // room in the cache; 0: the model's context length
  int64_t chunk = 512;     // rows that go through the layers at once; the bits are the same for any number
  Reach reach = {};        // Beyond::scale divides positions by max_tokens / context; refuse leaves it to max_tokens
  std::shared_ptr<const ScoreTable> table = {};  // steering (steering.h); null: none
  std::shared_ptr<const Variant> variant = {};   // departures from the file (variant.h); null: none
};

enum class Logits { none, last, all };

/// One run of whole texts with nothing kept, layer by layer: all chunks of a layer go before the next layer begins, so
/// that only one layer's keys and values are in memory (100,000 tokens of SmolLM2-135M: 154 MB instead of 4.6 GB). What
/// the observer sees has the bits of Session::run; only the order differs. InputError for a token that is none, none at
/// all, or more than options.reach allows (options.max_tokens is not used).
void run_by_layer(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens, Observer& observer,
                  const SessionOptions& options = {}, const Progress& progress = {});

class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Appends tokens [n] to the sequence. An id out of range or more tokens than there is room for: InputError, and the
  /// session is as it was. Returns logits [rows, V] (rows = 0, 1 or n), valid until the next call.
  TensorView<const float> run(std::span<const int32_t> tokens, Logits logits = Logits::last,
                              Observer* observer = nullptr, const Progress& progress = {});
  int64_t length() const;         // tokens in the cache
  int64_t capacity() const;       // tokens it has room for
  void truncate(int64_t length);  // forget all after `length` (0..length(), else std::invalid_argument)
  const Model& model() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Thrown when a Progress callback said stop.
struct Cancelled {};

struct SamplingOptions {
  float temperature = 0;  // 0: greedy (lowest id on a tie)
  int top_k = 0;          // 0: all
  float top_p = 1;
  uint64_t seed = 0;
};

/// Generates up to `count` tokens after what the session holds, from `logits` [V] of the last token (a view of what
/// run() returned is fine); stops after the model's end-of-sequence token and where the session has no more room.
/// `emit` sees each token as it is made; false stops. The last token is returned but not run: the session holds the
/// others. Sampling: temperature, then top_k, then top_p, then one draw from splitmix64 seeded with `seed`.
std::vector<int32_t> generate(Session& session, TensorView<const float> logits, int count,
                              const SamplingOptions& options = {}, const std::function<bool(int32_t)>& emit = {},
                              Observer* observer = nullptr);

/// exp of the mean negative log-likelihood of tokens[1..] given what precedes each. At least two tokens.
double perplexity(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens, int threads = 0,
                  const Progress& progress = {});

}  // namespace bareattn
