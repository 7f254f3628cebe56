// libFuzzer on chat templates, the Jinja text of a model file. The first byte chooses: the rest is the template; or it
// is put, as bytes exchanged and cut out, into the known form with a default system message. A template is refused with
// an InputError, or a chat is built in which the messages stand as they are. Anything else is a finding.
#include <cstdlib>
#include <string>

#include "bareattn/error.h"
#include "text/chat_template.h"

namespace {

const std::string known =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are "
    "helpful<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bareattn;
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string jinja = rest;
  if (data[0] % 2 != 0) {
    jinja = known;
    for (size_t i = 0; i + 3 <= rest.size() && !jinja.empty(); i += 3) {
      const auto byte = [&](size_t k) { return static_cast<size_t>(static_cast<uint8_t>(rest[i + k])); };
      const size_t at = (byte(0) | (byte(1) & 1) << 8) % jinja.size();
      if (byte(1) & 2) {
        jinja.erase(at, byte(2) % 8);
      } else {
        jinja.insert(at, 1, rest[i + 2]);
      }
    }
  }
  try {
    const text::ChatmlForm form = text::recognise_chat_template(jinja);
    const ChatMessage message{"user", rest};
    const std::string chat = text::apply_chatml(form, {&message, 1}, true);
    if (!chat.ends_with("<|im_start|>user\n" + rest + "<|im_end|>\n<|im_start|>assistant\n")) std::abort();
  } catch (const InputError&) {
  }
  return 0;
}
