// libFuzzer on the reader of tokenizer.json. A file is refused with an InputError or becomes a spec, which a tokenizer
// refuses with an InputError or takes: then byte-level BPE gives every text back, and no id is out of range. Its seed
// is a small file of each kind, taken apart by the mutator at bytes; begin from an empty corpus.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "bareattn/error.h"
#include "text/tokenizer_json.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

void run(const std::string& path) {
  try {
    const bareattn::Tokenizer tokenizer(bareattn::text::read_tokenizer_json(path));
    const std::string text = "the  heat,\n12 \xff\xc3\xa9 <s>";
    const auto ids = tokenizer.encode(text, true);
    for (const int32_t id : ids) require(id >= 0 && id < tokenizer.size());
    const std::string back = tokenizer.decode(ids);
    if (tokenizer.spec().model == "gpt2" && !tokenizer.spec().compose) require(back == text);
  } catch (const bareattn::InputError&) {
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed);
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  static const std::string_view seeds[] = {
      R"({"added_tokens":[{"id":5,"content":"<s>","special":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"model":{"type":"BPE","vocab":{"t":0,"h":1,"e":2,"th":3,"the":4},"merges":["t h",["th","e"]]}})",
      R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"model":{"type":"BPE","byte_fallback":true,"unk_token":"u","vocab":{"u":0,"<0x0A>":1,"▁":2,"t":3,"▁t":4},"merges":["▁ t"]}})",
      R"({"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["[SEP]",1],"cls":["[CLS]",0]},"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","vocab":{"[CLS]":0,"[SEP]":1,"[UNK]":2,"the":3,"##at":4,"he":5}}})"};
  if (size < 8) {
    const std::string_view chosen = seeds[seed % 3];
    const size_t length = std::min(chosen.size(), most);
    std::copy_n(chosen.begin(), length, data);
    return length;
  }
  return LLVMFuzzerMutate(data, size, most);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("tokenizer.json", 0);
  if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  run("/proc/self/fd/" + std::to_string(fd));
  return 0;
}
