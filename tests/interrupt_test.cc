// An Interruption: asked on its own thread between the pieces of a call; what it throws ends the call, waits for nobody
// and leaves threads and scratch as good as new. The innermost one of a thread is asked, and only in its scope.
#include "bareattn/interrupt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <thread>

#include "attention_support.h"
#include "bareattn/attention_backward.h"

namespace bareattn {
namespace {

struct Ended {};

TEST(Interruption, EndsEveryKindOfCallAtAnyQuestion) {
  testing::Problem p({2, 4, 2, 200, 700, 16, 16}, 3);
  testing::Collected seen(p);
  AttentionParams params = p.params;
  params.returns.statistics = seen.list;
  testing::Array<float> o = p.output(), d_q = p.q, d_k = p.k, part(2, 4, 200, 700);
  attention(p.q.view(), p.k.view(), p.v.view(), o.view(), params);
  AttentionCache cache(2, 2, 16, 16);
  cache.append(p.k.view(), p.v.view());
  const TensorView<const float> lse(seen.lse.data(), {2, 4, 200});
  for (const int threads : {1, 3}) {
    p.params.threads = threads;
    const std::vector<std::function<void()>> calls = {
        [&] { p.run(); },
        [&] {
          testing::Array<float> out = p.output();
          attention(p.q.view(), cache, out.view(), p.params);
        },
        [&] { weights(p.q.view(), p.k.view(), part.view(), {}, p.params); },
        [&] {
          AttentionGradients gradients;
          gradients.d_q = d_q.view(), gradients.d_k = d_k.view();
          attention_backward({p.q.view(), p.k.view(), p.v.view(), o.view(), lse}, p.q.view(), gradients, p.params);
        },
        [&] { p.exact(); },
    };
    for (size_t call = 0; call < calls.size(); ++call) {
      int asked = 0;
      {
        const Interruption counted([&, own = std::this_thread::get_id()] {
          EXPECT_EQ(std::this_thread::get_id(), own);
          ++asked;
        });
        calls[call]();
      }
      ASSERT_GT(asked, 0) << "call " << call;
      for (const int last : {1, std::min(2, asked), std::min(9, asked)}) {
        int left = last;
        const Interruption ends([&] {
          if (--left == 0) throw Ended{};
        });
        // How often the calling thread is asked depends on how many tasks the others take.
        try {
          calls[call]();
          EXPECT_GT(threads, 1) << "call " << call << " went on at question " << last;
        } catch (const Ended&) {
        }
      }
      EXPECT_TRUE(testing::same_bits(p.run(), o.data)) << "after call " << call;
    }
  }
}

TEST(Interruption, TheInnermostOfAThreadIsAsked) {
  int outer = 0, inner = 0;
  Interruption::point();
  {
    const Interruption one([&] { ++outer; });
    Interruption::point();
    {
      const Interruption two([&] { ++inner; });
      Interruption::point();
      std::thread([] { Interruption::point(); }).join();
    }
    Interruption::point();
  }
  Interruption::point();
  EXPECT_EQ(outer, 2);
  EXPECT_EQ(inner, 1);
}

}  // namespace
}  // namespace bareattn
