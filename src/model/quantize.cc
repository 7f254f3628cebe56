// bareattn/quantize.h: the file is copied up to its tensor records, these again with other types and offsets, and the
// weights row by row through f32. The reader has checked everything that is relied on here (gguf.h).
#include "bareattn/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "bareattn/error.h"
#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/float_environment.h"
#include "files/gguf.h"
#include "files/quantize_blocks.h"

namespace bareattn {
namespace {

using model::GgufFile;
using model::TensorInfo;
using model::TensorType;

struct TypeInfo {
  const char* name;
  TensorType type;
  uint32_t file_type;   // ggml's number of "mostly this", for general.file_type
  TensorType fallback;  // for rows that `type` does not divide
};
constexpr TypeInfo infos[] = {
    {"f32", TensorType::f32, 0, TensorType::f32},     {"f16", TensorType::f16, 1, TensorType::f32},
    {"bf16", TensorType::bf16, 32, TensorType::f32},  {"q8_0", TensorType::q8_0, 7, TensorType::f32},
    {"q4_0", TensorType::q4_0, 2, TensorType::f32},   {"q4_1", TensorType::q4_1, 3, TensorType::f32},
    {"q5_0", TensorType::q5_0, 8, TensorType::f32},   {"q5_1", TensorType::q5_1, 9, TensorType::f32},
    {"q4_k", TensorType::q4_k, 14, TensorType::q5_0}, {"q6_k", TensorType::q6_k, 18, TensorType::q8_0},
};

const TypeInfo& info_of(WeightType type) { return infos[static_cast<int>(type)]; }

TensorType type_for(const TensorInfo& tensor, const TypeInfo& wanted) {
  if (tensor.rows() <= 1) return TensorType::f32;
  for (const TensorType type : {wanted.type, wanted.fallback})
    if (tensor.columns() % model::storage_of(type).block == 0) return type;
  return TensorType::f32;
}

uint64_t aligned(uint64_t size, uint64_t alignment) { return base::CheckedSize(size).align_up(alignment).value(); }

uint64_t bytes_of(const TensorInfo& tensor, TensorType type) {
  const auto storage = model::storage_of(type);
  return (base::CheckedSize(static_cast<uint64_t>(tensor.rows())) *
          static_cast<uint64_t>(tensor.columns() / storage.block * storage.bytes))
      .value();
}

// One tensor through f32, a row at a time.
void convert(const GgufFile& file, const TensorInfo& tensor, TensorType type, base::AtomicFile& out) {
  const auto from = model::storage_of(tensor.type), to = model::storage_of(type);
  const auto columns = static_cast<size_t>(tensor.columns());
  const size_t bytes = columns / static_cast<size_t>(from.block) * static_cast<size_t>(from.bytes);
  std::vector<float> row(columns);
  std::vector<std::byte> stored(columns / static_cast<size_t>(to.block) * static_cast<size_t>(to.bytes)), raw(bytes);
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    file.read_at(tensor.offset + static_cast<uint64_t>(r) * bytes, raw);
    model::dequantize(tensor.type, raw, tensor.columns(), row.data());
    if (to.block > 1 && !std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); })) {
      file.fail_at(tensor.offset, "tensor " + model::quoted(tensor.name) +
                                      " holds weights that are NaN or infinite, which " +
                                      model::type_name(static_cast<uint32_t>(type)) + " cannot");
    }
    model::quantize_blocks(type, row, stored.data());
    out.write(std::span<const std::byte>(stored));
  }
}

template <class T>
void patch(std::string& bytes, uint64_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Everything before the first tensor's record, with general.file_type set where it stands as a 32-bit number.
std::string metadata_of(const GgufFile& file, uint64_t end, uint32_t file_type) {
  std::string bytes(file.file().text().substr(0, end));
  const std::string record = std::string("\x11\0\0\0\0\0\0\0", 8) + "general.file_type" + std::string("\x04\0\0\0", 4);
  if (file.integer("general.file_type")) {
    if (const size_t at = bytes.find(record); at != std::string::npos) patch(bytes, at + record.size(), file_type);
  }
  return bytes;
}

}  // namespace

const char* weight_type_name(WeightType type) { return info_of(type).name; }

Quantized quantize(const std::string& from, const std::string& to, WeightType type, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  const GgufFile file(from);
  if (file.tensors().empty()) file.fail("", "the file holds no tensors");
  if (file.parts() > 1) file.fail("split.count", "the model is split into several files; merge them into one first");
  const TypeInfo& wanted = info_of(type);
  const uint64_t alignment = file.integer("general.alignment").value_or(32);
  std::vector<TensorInfo> tensors(file.tensors().begin(), file.tensors().end());
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.record < b.record; });
  std::string head = metadata_of(file, tensors.front().record, wanted.file_type);
  Quantized result;
  uint64_t offset = 0;
  for (const TensorInfo& tensor : tensors) {  // name, rank, shape as they are; then type and offset
    const TensorType stored = type_for(tensor, wanted);
    const std::string_view text = file.file().text();
    uint32_t rank = 0;
    std::memcpy(&rank, text.data() + tensor.record + 8 + tensor.name.size(), sizeof rank);
    const uint64_t length = 8 + tensor.name.size() + 4 + uint64_t{8} * rank;
    head += text.substr(tensor.record, length);
    head.append(12, '\0');
    patch(head, head.size() - 12, static_cast<uint32_t>(stored));
    patch(head, head.size() - 8, offset);
    offset = aligned(offset + bytes_of(tensor, stored), alignment);
    (stored == wanted.type ? result.converted : stored == TensorType::f32 ? result.kept_f32 : result.fallen_back) += 1;
  }
  head.resize(aligned(head.size(), alignment));
  base::AtomicFile out(to);
  out.write(head);
  for (size_t i = 0; i < tensors.size(); ++i) {
    convert(file, tensors[i], type_for(tensors[i], wanted), out);
    out.write(std::string(aligned(out.position() - head.size(), alignment) - (out.position() - head.size()), '\0'));
    if (progress && !progress(static_cast<int64_t>(i) + 1, static_cast<int64_t>(tensors.size()))) throw Cancelled{};
  }
  file.check_unchanged();
  result.bytes_before = static_cast<int64_t>(file.file().size());
  result.bytes_after = static_cast<int64_t>(out.position());
  out.commit();
  return result;
}

}  // namespace bareattn
