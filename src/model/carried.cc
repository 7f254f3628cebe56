// See carried.h.
#include "model/carried.h"

#include <cmath>

#include "kernels/convert.h"
#include "kernels/gemm.h"
#include "model/loaded_model.h"

namespace bareattn::model {

std::vector<float> carried_sizes(const Model& model, int layer, int head, const std::vector<uint16_t>& values) {
  const auto* loaded = dynamic_cast<const LoadedModel*>(&model);
  if (loaded == nullptr || values.empty()) return {};
  const kernels::PackedMatrix& output = loaded->weights().layers.at(static_cast<size_t>(layer)).output;  // [W, Hq D]
  const int64_t dim = model.config().head_dim, width = output.n, inner = output.k;
  // The head's columns of W_O, as its rows: the projection of the unit vectors.
  std::vector<float> unit(static_cast<size_t>(dim * inner)), columns(static_cast<size_t>(dim * width));
  for (int64_t d = 0; d < dim; ++d) unit[static_cast<size_t>(d * inner + head * dim + d)] = 1;
  kernels::gemm(unit.data(), inner, dim, output, 0, width, columns.data(), width);
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
  const int64_t rows = static_cast<int64_t>(values.size()) / dim;
  std::vector<float> v(static_cast<size_t>(dim)), sizes(static_cast<size_t>(rows));
  for (int64_t j = 0; j < rows; ++j) {
    kernels::f32_from_f16(values.data() + j * dim, v.data(), dim);
    double square = 0;
    for (int64_t a = 0; a < dim; ++a) {
      double sum = 0;
      for (int64_t b = 0; b < dim; ++b)
        sum += gram[static_cast<size_t>(a * dim + b)] * static_cast<double>(v[static_cast<size_t>(b)]);
      square += sum * static_cast<double>(v[static_cast<size_t>(a)]);
    }
    // Rounding may leave a little less than nothing where there is nothing; NaN stays NaN.
    sizes[static_cast<size_t>(j)] = static_cast<float>(std::sqrt(square < 0 ? 0 : square));
  }
  return sizes;
}

}  // namespace bareattn::model
