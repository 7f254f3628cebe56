// See carried.h.
#include "model/carried.h"

#include <cmath>

#include "kernels/convert.h"
#include "model/head_outputs.h"

namespace bareattn::model {

std::vector<float> carried_sizes(const Model& model, int layer, int head, const std::vector<uint16_t>& values) {
  if (values.empty()) return {};
  const int64_t dim = model.config().head_dim;
  const std::vector<float> columns = output_columns(model, layer, head);
  if (columns.empty()) return {};
  const std::vector<double> gram = output_gram(columns, dim);
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
