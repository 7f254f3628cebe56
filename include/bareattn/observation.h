// What one observed run over a text leaves: every head's measures per row and per key, a pooled map of the whole
// weighting, and Q, K and LSE, from which any cell is exact on demand. Nothing N x N is ever held: memory is
// O(N) per head (docs/measures.md, "What it costs").
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bareattn/model.h"
#include "bareattn/spans.h"

namespace bareattn {

struct HeadId {
  int layer = 0;
  int head = 0;
  friend bool operator==(const HeadId&, const HeadId&) = default;
};

/// Returns "LAYER.HEAD", as users write a head.
inline std::string head_name(HeadId head) { return std::to_string(head.layer) + "." + std::to_string(head.head); }

/// Tokens [begin, end).
struct TokenRange {
  int64_t begin = 0, end = 0;
};

/// A measure of one row (or, averaged, of one head): see docs/measures.md.
enum class Measure : int {
  entropy,             // nats
  normalized_entropy,  // entropy / ln(i + 1), 0..1; NaN for row 0, which has only itself
  effective_context,   // exp(entropy), tokens
  max_weight,          // weight of the strongest key
  max_logit,
  lse,
  mean_distance,  // tokens
  first_mass,     // weight on token 0
  self_weight,
  previous_weight,
  recent_mass,      // weight on the last 64 tokens
  participation,    // 1 / sum p^2, tokens
  distance_spread,  // sqrt of the variance of the distance, tokens
};
inline constexpr int measure_count = static_cast<int>(Measure::distance_spread) + 1;

/// What is made during the pass, and paid for. lse and max_logit, hence max_weight, are always there.
struct MeasureGroups {
  bool rows = true;        // entropy and what follows from it, participation, the strongest key
  bool distance = true;    // mean_distance, recent_mass
  bool spans = true;       // first_mass, self_weight, previous_weight, and the named spans
  bool columns = true;     // weight received
  bool map = true;         // the pooled map
  bool spread = false;     // distance_spread
  bool values = false;     // what a weight of one on each key carries, |v W_O|
  bool agreement = false;  // whether the outputs of a layer's heads point the same way
  bool has(Measure measure) const;
  bool for_roles() const { return rows && distance && spans; }
  bool for_page() const { return for_roles() && columns && map; }
};

struct MeasureInfo {
  const char* id;           // "entropy": the name in JSON and on the command line
  const char* title;        // "Entropy"
  const char* unit;         // "nats", "tokens", ""
  const char* description;  // one sentence that a person understands without a manual
};
const MeasureInfo& measure_info(Measure measure);

/// A head's simple role, from its means alone; `evidence` is the sentence that says why.
struct Role {
  std::string name;      // "first-token", "previous-token", "self", "local", "broad", "mixed"
  double score = 0;      // the measure that decided, 0..1
  std::string evidence;  // "puts 0.93 of its weight on the first token"
};

struct ObservationOptions {
  MeasureGroups measures = {};
  std::vector<NamedSpan> spans = {};             // whose weight is measured
  int pool_block = 0;                            // 0: chosen from the length; else 1, 2, 4, 8, or a multiple of 16
  bool keep_qk = true;                           // keep Q and K (f16) of every head; LSE is always kept
  bool keep_v = false;                           // keep V too: what keys carry (the page's value weighting)
  Beyond beyond = Beyond::refuse;                // for texts longer than the model's context
  std::shared_ptr<const ScoreTable> table = {};  // steering; what is recomputed from Q and K follows it
  std::shared_ptr<const Variant> variant = {};   // a run that departs from the file; what is recomputed does not follow
};

class Observation {
 public:
  virtual ~Observation() = default;
  virtual const Model& model() const = 0;
  virtual const std::vector<int32_t>& tokens() const = 0;  // [N]
  /// The text of each token as valid UTF-8; a character split over tokens stands whole at its first one, the others are
  /// empty; bytes that are no UTF-8 show as U+FFFD. Joined they are the text (invalid bytes aside).
  virtual const std::vector<std::string>& token_texts() const = 0;
  virtual double seconds() const = 0;  // of the run itself
  virtual int threads() const = 0;     // that ran it

  /// What was measured. The rest is an InputError when asked for.
  virtual MeasureGroups measured() const { return {}; }
  /// The named spans whose weight was measured, and that weight: of row i the sum over the span's keys, [N].
  virtual std::vector<SpanSet> span_sets() const { return {}; }
  virtual std::vector<float> span_mass(int set, HeadId head) const;

  /// Mean over the rows [1, N) (row 0 only ever sees itself); NaN for a text of one token.
  virtual double mean(Measure measure, HeadId head) const = 0;
  /// Per row, [N].
  virtual std::vector<float> rows(Measure measure, HeadId head) const = 0;
  /// Weight received per key, summed over rows, [N]; and the strongest key of each row, [N].
  virtual std::vector<double> received(HeadId head) const = 0;
  virtual std::vector<int32_t> max_key(HeadId head) const = 0;

  /// |v_j W_O| of each key, [N]: the size of what this head writes into the stream for a weight of one on key j, so
  /// that the weight p_ij writes p_ij times as much (Kobayashi et al. 2020). Group `values`.
  virtual std::vector<float> carried(HeadId head) const;
  /// Cosine of what heads a and b write into the stream, mean over the rows [1, N), at a Hq + b: [Hq, Hq]. A row where
  /// one of them writes nothing does not count; NaN: no row does. Group `agreement`.
  virtual std::vector<float> output_cosine(int layer) const;

  /// Pooled map: [blocks (blocks + 1) / 2], row block r, key block c <= r at r (r + 1) / 2 + c.
  virtual int pool_block() const = 0;
  virtual int64_t pool_blocks() const = 0;
  virtual std::vector<double> pool_sum(HeadId head) const = 0;
  virtual std::vector<float> pool_max(HeadId head) const = 0;

  /// Q [N, D] of a query head and K [N, D] of its key-value head, IEEE binary16 bits; empty where not kept.
  virtual std::vector<uint16_t> q_f16(HeadId head) const = 0;
  virtual std::vector<uint16_t> k_f16(int layer, int kv_head) const = 0;

  /// V [N, D] of a key-value head, binary16; empty where not kept.
  virtual std::vector<uint16_t> v_f16(int layer, int kv_head) const {
    (void)layer, (void)kv_head;
    return {};
  }

  /// How scores are made of q.k in a layer of this run: by what weights recomputed from Q, K and LSE have to go. Valid
  /// as long as this. Without an override: what the model's architecture says.
  virtual ScoreRule score_rule(int layer) const;
  /// What steered the run; null where nothing did.
  virtual const ScoreTable* table() const { return nullptr; }

  virtual Role role(HeadId head) const = 0;
  /// Weights [rows, keys] of a head, from the kept Q and K; 0 where a key is not seen. The same cells before the
  /// softmax: scale q.k with what steering adds, -inf where a key is not seen. From the kept f16 the scores are within
  /// 1.01 * 2^-10 scale sum |q k| and the weights within that factor. std::invalid_argument for ranges outside the
  /// text, and where Q and K were not kept.
  virtual std::vector<float> tile(HeadId head, TokenRange rows, TokenRange keys) const;
  virtual std::vector<float> scores(HeadId head, TokenRange rows, TokenRange keys) const;
  /// The weights of row i on the keys [0, i], [i + 1]: exp(logit - LSE), raw (they sum to 1 within the bound). The last
  /// row's logits come from f32 Q and a K good to 22 bits: within 2 D 2^-24 scale sum |q k| of the pass's own. All
  /// other rows' come from the kept f16: within 1.01 * 2^-10 scale sum |q k|. That error of the logit is the relative
  /// error of the weight. std::invalid_argument where Q and K were not kept or there is no such row.
  virtual std::vector<float> row_weights(HeadId head, int64_t row) const = 0;
  /// The strongest `count` keys of row i by weight, best first, the lower key on a tie: (key, weight). As row_weights.
  virtual std::vector<std::pair<int32_t, float>> top_keys(HeadId head, int64_t row, int count) const = 0;
};

/// How one named span looks at another: mean over the rows of span set `from` of the weight on span set `to`, 0 in rows
/// that see none of it. With a question and a document it is the head's part of a QR score (2506.09944).
double span_flow(const Observation& observation, int from, int to, HeadId head);
/// Lookback ratio (2407.07071): mean over the rows of span set `fresh` of c / (c + f), c the weight on `context` per
/// token of it, f that on `fresh` per token of it that the row sees. Means per token, not sums, as published.
double lookback_ratio(const Observation& observation, int context, int fresh, HeadId head);
/// Focus score (2411.00348), this head's: of what the last row gives to `instruction` and `data`, the share of the
/// first. NaN where it gives nothing to either.
double focus_score(const Observation& observation, int instruction, int data, HeadId head);

/// Value-weighted attention, |p_ij v_j W_O| = p_ij |v_j W_O|: [rows, keys], and the `count` largest of one row, largest
/// first, the lower key on a tie. Needs the group `values`.
std::vector<float> value_weighted(const Observation& observation, HeadId head, TokenRange rows, TokenRange keys);
std::vector<std::pair<int32_t, float>> top_value_weighted(const Observation& observation, HeadId head, int64_t row,
                                                          int count);

/// The same as shares of the row, p_ij |v_j W_O| / sum_k p_ik |v_k W_O|: [rows, rows.end], each row sums to 1. NaN in a
/// row whose keys carry nothing.
std::vector<float> value_shares(const Observation& observation, HeadId head, TokenRange rows);

/// Mean of span_mass over the rows that can see some of the span: from max(1, its first token) on. NaN: there are none.
double mean_span_mass(const Observation& observation, int set, HeadId head);

/// Runs the model over the tokens once and observes every head. At least one token; more than options.beyond
/// allows is an InputError; a false from `progress` throws Cancelled.
std::unique_ptr<Observation> observe(const std::shared_ptr<const Model>& model, std::vector<int32_t> tokens,
                                     const ObservationOptions& options = {}, int threads = 0,
                                     const Progress& progress = {});

}  // namespace bareattn
