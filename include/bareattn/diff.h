// Two runs over the same tokens, compared: what each head's weighting of one run is in the other. Whole distributions,
// not samples: every score of both is used, a band of rows at a time, so memory grows with the length and not its
// square. Means are over the rows [1, N); row 0 only ever sees itself. Raw: NaN comes through, and a key that A sees
// and B cannot makes the divergence infinite. Refuses runs over different tokens or heads, by name.
// Definitions: docs/diff.md.
#pragma once
#include <memory>
#include <vector>

#include "bareattn/trace.h"

namespace bareattn {

struct HeadDiff {
  HeadId head;
  double kl = 0;                // KL(A || B) = E_A[s_A - s_B] - (LSE_A - LSE_B), nats
  double js = 0;                // Jensen-Shannon, nats, 0 to ln 2
  double lse_shift = 0;         // LSE_B - LSE_A
  double lse_change = 0;        // |LSE_B - LSE_A|
  double entropy_shift = 0;     // H_B - H_A, nats
  double top_overlap = 0;       // Jaccard index of the strongest keys, 0 to 1
  double first_mass_shift = 0;  // weight on the first token in B less that in A
  double output_cosine = 0;     // of the blends z; NaN where they are not known (traces do not keep them)
  int64_t worst_row = 0;        // where its JS is largest, the first of equals
  double worst_js = 0;
};

struct RunDiff {
  std::vector<HeadDiff> heads;   // [L Hq], in order
  std::vector<double> token_js;  // [N], mean over the heads of the row's JS
};

struct DiffOptions {
  int top = 10;     // strongest keys compared by top_overlap
  int threads = 0;  // 0: all cores; the bits are the same for any number
  /// Compares value_shares (observation.h) instead of weights, all but the shift of LSE; traces need the group
  /// `values`.
  bool value_weighted = false;
};

/// InputError where the runs are not over the same tokens and the same number of heads. Scores are those of the stored
/// Q and K (see Store): traces kept in f32 compare the runs bit by bit, f16 adds its rounding to the difference.
RunDiff diff(const Trace& a, const Trace& b, const DiffOptions& options = {}, const Progress& progress = {});

/// Both models over one text, outputs included. Q and K of both go through temporary files (f32); the blends of A are
/// in memory, 4 L Hq D bytes a token. OutputError where no temporary file can be written.
RunDiff diff(const std::shared_ptr<const Model>& a, const std::shared_ptr<const Model>& b,
             const std::vector<int32_t>& tokens, const DiffOptions& options = {}, const Progress& progress = {});

}  // namespace bareattn
