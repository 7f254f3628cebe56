// libFuzzer on the GGUF reader, through everything that is made of the metadata: the index, every typed value, the
// tensors' places, the configuration, the tokenizer. A file is refused with an InputError, or it is usable: then what
// the reader promises must hold (names in order, data inside the file, no overlap) and the tokenizer gives a text back.
// Anything else (a crash, another exception, a broken promise) is a finding. `./x fuzz gguf_fuzz` builds and runs it;
// its seed is a whole tiny model, so begin from an empty corpus or any folder of small GGUF files.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "../tests/gguf_builder.h"
#include "bareattn/error.h"
#include "files/gguf.h"
#include "model/config.h"

namespace {

using bareattn::model::GgufFile;
using bareattn::model::TensorInfo;

void require(bool promise) {
  if (!promise) std::abort();
}

// Every reader of a value, on every key that the loader asks for and some of other types.
void read_everything(const GgufFile& file) {
  const auto attempt = [](const auto& read) {
    try {
      read();
    } catch (const bareattn::InputError&) {
    }
  };
  for (const char* key : {"general.architecture", "general.alignment", "llama.block_count", "llama.rope.freq_base",
                          "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores", "x", ""}) {
    attempt([&] { file.integer(key); });
    attempt([&] { file.number(key); });
    attempt([&] { file.boolean(key); });
    attempt([&] { file.string(key); });
    attempt([&] { file.strings(key); });
    attempt([&] { file.integers(key); });
    attempt([&] { file.array_length(key, bareattn::model::ValueType::f32); });
  }
  uint64_t end = 0;
  std::string_view previous;
  std::vector<std::pair<uint64_t, uint64_t>> places;
  for (const TensorInfo& tensor : file.tensors()) {
    require(previous.empty() || previous < tensor.name);
    require(file.find_tensor(tensor.name) == &tensor);
    require(tensor.offset <= file.file().size() && tensor.bytes <= file.file().size() - tensor.offset);
    previous = tensor.name;
    if (tensor.bytes != 0) places.emplace_back(tensor.offset, tensor.bytes);
  }
  std::sort(places.begin(), places.end());
  for (const auto& [offset, bytes] : places) {
    require(offset >= end);
    end = offset + bytes;
  }
}

void run(const std::string& path) {
  try {
    const GgufFile file(path);
    read_everything(file);
    std::vector<std::string> warnings;
    const bareattn::Architecture config = bareattn::model::read_architecture(file, warnings);
    const bareattn::Tokenizer tokenizer(bareattn::model::read_tokenizer(file));
    const std::string text = "the  heat,\n12 \xff\xc3\xa9";
    require(tokenizer.decode(tokenizer.encode(text)) == text);
  } catch (const bareattn::InputError&) {
  }
}

}  // namespace

// The metadata of a whole small model with its weights cut to little: what mutations begin from.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed);
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  static const std::string model = [] {
    auto g = bareattn::test::tiny_llama();
    for (auto& tensor : g.tensors) tensor.shape = {0}, tensor.data.clear();
    return g.build();
  }();
  if (size < 64 && seed % 4 == 0 && model.size() <= most) {
    std::copy(model.begin(), model.end(), data);
    size = model.size();
  }
  return LLVMFuzzerMutate(data, size, most);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("gguf", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  run("/proc/self/fd/" + std::to_string(fd));
  return 0;
}
