// What the heads of one layer write into the residual stream, apart from each other: head h adds W_O^h z to it, the
// columns of W_O that belong to h times its blend z. Here are the size of what a key carries, |W_O^h v|, and the cosine
// between what two heads add. W_O is taken as the projection uses it. Next: observe/output_watch.h, which runs it
// beside the model.
#pragma once
#include <cstdint>
#include <vector>

#include "bareattn/model.h"
#include "bareattn/tensor_view.h"
#include "kernels/gemm.h"

namespace bareattn::model {

/// The columns of W_O that `head` reads, as rows: [D, W]. Empty where the model holds no weights (that of a trace).
std::vector<float> output_columns(const Model& model, int layer, int head);
/// Their inner products, [D, D], in double.
std::vector<double> output_gram(const std::vector<float>& columns, int64_t dim);

/// |W_O^h v| for all heads of a layer, by the Cholesky factor R of the Gram matrix, |W_O^h v| = |R v|: D^2
/// multiply-adds a row and head. Relative error within 2 D 2^-24 |R|_F |v| / |R v| (f32 sums of D terms).
class CarriedSizes {
 public:
  CarriedSizes(const Model& model, int layer);
  /// values [rows, Hkv, D] to sizes [Hq, rows].
  void of(TensorView<const float> values, float* sizes) const;

 private:
  int64_t heads_, dim_;
  std::vector<kernels::PackedMatrix> factors_;  // [Hq] of [D, D]
};

/// The most pairs of heads that are compared, over all layers asked for: more than 126 layers of 128 heads have. What
/// is made and kept for each pair grows with the square of the heads, which a file of a few bytes can say are many.
inline constexpr int64_t most_head_pairs = int64_t{1} << 20;
/// InputError where these layers have more.
void check_head_pairs(const ModelConfig& config, int layers);

/// Cosines between the outputs of a layer's heads, added up over rows; W Hq D multiply-adds a row.
class OutputCosines {
 public:
  OutputCosines(const Model& model, int layer);
  /// Blends z [rows, Hq, D]; the first `skip` rows are left out.
  void add(TensorView<const float> z, int64_t skip);
  /// Means [Hq, Hq], 1 on the diagonal; a row where an output is zero does not count for its pairs; NaN: none does.
  std::vector<float> means() const;

 private:
  int64_t heads_, dim_, width_;
  std::vector<kernels::PackedMatrix> outputs_;  // [Hq] of [W, D]
  std::vector<double> sums_;                    // [Hq, Hq]
  std::vector<int64_t> rows_;                   // the same
};

}  // namespace bareattn::model
