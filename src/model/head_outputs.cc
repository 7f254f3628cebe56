// See head_outputs.h.
#include "model/head_outputs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "bareattn/error.h"
#include "model/loaded_model.h"

namespace bareattn::model {
namespace {

constexpr int64_t rows_at_once = 64;  // their outputs, 64 Hq W floats, stay in L2 for small models

// R, upper triangular, with R^T R = gram. A pivot that is nothing beside the largest entry is nothing: the head's
// columns then span fewer than D dimensions. NaN and infinity make all of R NaN: they are to show.
std::vector<float> cholesky(std::vector<double> gram, int64_t dim) {
  double largest = 0;
  bool finite = true;
  for (int64_t a = 0; a < dim; ++a) largest = std::max(largest, gram[static_cast<size_t>(a * dim + a)]);
  for (const double x : gram) finite = finite && std::isfinite(x);
  if (!finite) return std::vector<float>(gram.size(), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> factor(gram.size());
  const auto at = [&](int64_t row, int64_t column) -> double& { return gram[static_cast<size_t>(row * dim + column)]; };
  for (int64_t a = 0; a < dim; ++a) {
    if (!(at(a, a) > largest * 1e-14)) continue;
    const double pivot = std::sqrt(at(a, a));
    for (int64_t b = a; b < dim; ++b) factor[static_cast<size_t>(a * dim + b)] = static_cast<float>(at(a, b) / pivot);
    for (int64_t b = a + 1; b < dim; ++b)
      for (int64_t c = b; c < dim; ++c) at(b, c) -= at(a, b) / pivot * (at(a, c) / pivot);
  }
  return factor;
}

kernels::PackedMatrix packed(const std::vector<float>& rows, int64_t n, int64_t k) {
  kernels::PackedMatrix matrix = kernels::allocate_packed(n, k, kernels::Storage::f32);
  kernels::pack_rows(matrix, 0, n, rows.data());
  return matrix;
}

// Rows [begin, begin + count) of head `head` of [rows, heads, D], dense.
void gather(const TensorView<const float>& from, int64_t head, int64_t begin, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t d = 0; d < from.shape[2]; ++d) to[i * from.shape[2] + d] = from.at(begin + i, head, d);
}

// 16 sums beside each other, so that the compiler may use vectors.
double product(const float* a, const float* b, int64_t count) {
  constexpr int64_t lanes = 16;
  float sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  double all = 0;
  for (const float sum : sums) all += static_cast<double>(sum);
  for (; i < count; ++i) all += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return all;
}

}  // namespace

std::vector<float> output_columns(const Model& model, int layer, int head) {
  const auto* loaded = dynamic_cast<const LoadedModel*>(&model);
  if (loaded == nullptr) return {};
  const kernels::PackedMatrix& output = loaded->weights().layers.at(static_cast<size_t>(layer)).output;  // [W, Hq D]
  const int64_t dim = model.config().head_dim, width = output.n, inner = output.k;
  std::vector<float> unit(static_cast<size_t>(dim * inner)), columns(static_cast<size_t>(dim * width));
  for (int64_t d = 0; d < dim; ++d) unit[static_cast<size_t>(d * inner + head * dim + d)] = 1;
  kernels::gemm(unit.data(), inner, dim, output, 0, width, columns.data(), width);  // the projection of unit vectors
  return columns;
}

std::vector<double> output_gram(const std::vector<float>& columns, int64_t dim) {
  const int64_t width = static_cast<int64_t>(columns.size()) / dim;
  std::vector<double> gram(static_cast<size_t>(dim * dim));
  for (int64_t a = 0; a < dim; ++a) {
    for (int64_t b = 0; b <= a; ++b) {
      double sum = 0;
      for (int64_t w = 0; w < width; ++w) {
        sum += static_cast<double>(columns[static_cast<size_t>(a * width + w)]) *
               static_cast<double>(columns[static_cast<size_t>(b * width + w)]);
      }
      gram[static_cast<size_t>(a * dim + b)] = gram[static_cast<size_t>(b * dim + a)] = sum;
    }
  }
  return gram;
}

CarriedSizes::CarriedSizes(const Model& model, int layer)
    : heads_(model.config().heads), dim_(model.config().head_dim) {
  for (int head = 0; head < heads_; ++head) {
    const std::vector<float> columns = output_columns(model, layer, head);
    if (columns.empty()) throw std::invalid_argument("CarriedSizes: the model holds no weights");
    factors_.push_back(packed(cholesky(output_gram(columns, dim_), dim_), dim_, dim_));
  }
}

void CarriedSizes::of(TensorView<const float> values, float* sizes) const {
  const int64_t rows = values.shape[0], group = heads_ / values.shape[1];
  std::vector<float> v(static_cast<size_t>(rows_at_once * dim_)), turned(v.size());
  for (int64_t begin = 0; begin < rows; begin += rows_at_once) {
    const int64_t count = std::min(rows_at_once, rows - begin);
    for (int64_t head = 0; head < heads_; ++head) {
      if (head % group == 0) gather(values, head / group, begin, count, v.data());
      kernels::gemm(v.data(), dim_, count, factors_[static_cast<size_t>(head)], 0, dim_, turned.data(), dim_);
      for (int64_t i = 0; i < count; ++i) {
        const float* row = turned.data() + i * dim_;
        sizes[head * rows + begin + i] = static_cast<float>(std::sqrt(product(row, row, dim_)));
      }
    }
  }
}

void check_head_pairs(const ModelConfig& config, int layers) {
  const int64_t pairs = int64_t{config.heads} * (config.heads - 1) / 2 * layers;
  if (pairs <= most_head_pairs) return;
  throw InputError(std::to_string(layers) + " layers of " + std::to_string(config.heads) + " heads have " +
                   std::to_string(pairs) + " pairs of heads; agreement is made of at most " +
                   std::to_string(most_head_pairs));
}

OutputCosines::OutputCosines(const Model& model, int layer)
    : heads_(model.config().heads),
      dim_(model.config().head_dim),
      width_(model.config().width),
      sums_(static_cast<size_t>(heads_ * heads_)),
      rows_(sums_.size()) {
  for (int head = 0; head < heads_; ++head) {
    const std::vector<float> columns = output_columns(model, layer, head);
    if (columns.empty()) throw std::invalid_argument("OutputCosines: the model holds no weights");
    std::vector<float> turned(columns.size());  // [W, D]
    for (int64_t d = 0; d < dim_; ++d)
      for (int64_t w = 0; w < width_; ++w)
        turned[static_cast<size_t>(w * dim_ + d)] = columns[static_cast<size_t>(d * width_ + w)];
    outputs_.push_back(packed(turned, width_, dim_));
  }
}

void OutputCosines::add(TensorView<const float> z, int64_t skip) {
  const int64_t rows = z.shape[0];
  std::vector<float> blend(static_cast<size_t>(rows_at_once * dim_)),
      out(static_cast<size_t>(heads_ * rows_at_once * width_));  // [Hq, rows, W]
  std::vector<double> size(static_cast<size_t>(heads_));
  for (int64_t begin = skip; begin < rows; begin += rows_at_once) {
    const int64_t count = std::min(rows_at_once, rows - begin);
    for (int64_t head = 0; head < heads_; ++head) {
      gather(z, head, begin, count, blend.data());
      kernels::gemm(blend.data(), dim_, count, outputs_[static_cast<size_t>(head)], 0, width_,
                    out.data() + head * rows_at_once * width_, width_);
    }
    for (int64_t i = 0; i < count; ++i) {
      const auto output = [&](int64_t head) { return out.data() + (head * rows_at_once + i) * width_; };
      for (int64_t a = 0; a < heads_; ++a)
        size[static_cast<size_t>(a)] = std::sqrt(product(output(a), output(a), width_));
      for (int64_t a = 0; a < heads_; ++a)
        for (int64_t b = 0; b < a; ++b) {
          const double sizes = size[static_cast<size_t>(a)] * size[static_cast<size_t>(b)];
          if (sizes == 0) continue;
          sums_[static_cast<size_t>(a * heads_ + b)] += product(output(a), output(b), width_) / sizes;
          rows_[static_cast<size_t>(a * heads_ + b)] += 1;
        }
    }
  }
}

std::vector<float> OutputCosines::means() const {
  std::vector<float> means(sums_.size(), 1.0F);
  for (int64_t a = 0; a < heads_; ++a)
    for (int64_t b = 0; b < a; ++b) {
      const auto at = static_cast<size_t>(a * heads_ + b);
      means[at] = means[static_cast<size_t>(b * heads_ + a)] = static_cast<float>(
          rows_[at] == 0 ? std::numeric_limits<double>::quiet_NaN() : sums_[at] / static_cast<double>(rows_[at]));
    }
  return means;
}

}  // namespace bareattn::model
