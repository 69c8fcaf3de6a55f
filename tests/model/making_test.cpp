// making_test.cpp: a resource that a thread of its own makes for who waits, by every schedule
// within the bounds.
#include <catch2/catch.hpp>

#include <stdexcept>

#include "depth.hpp"
#include "pools.hpp"

using namespace model;

namespace {

using Scene1 = PoolScene<1>;
using Root1 = PoolRoot<1>;

enum class Ends { well, badly, late };
int calls = 0;  // of the factory

/// Process 0 has a factory, and a thread for it. `number`: that of its first actor.
template <class MakingScene, class Code>
void process_with_factory(MakingScene& scene, Ends ends, Code&& code, int number = 0) {
    using Root = typename MakingScene::Root;
    scene.actor("requester", 0, std::forward<Code>(code), [ends](Root& root) {
        detail::PoolObject& pool = MakingScene::pool_of(root);
        detail::ErasedHooks hooks;
        hooks.factory = [ends](void* at, lagoon::Slot, detail::Deadline) {
            ::new (at) Resource{7, 7};
            ++calls;
            step();
            // Modelled time stands still until a sleep is over.
            if (ends == Ends::late) await([] { return now() != 0; });
            if (ends == Ends::badly) throw std::runtime_error{"no more of them"};
        };
        detail::pool_set_hooks(pool, std::move(hooks));
        (void)detail::cache_of(pool);
        offer_thread();
        calls = 0;
    });
    scene.actor("maker", 0, [number](Root&) { be_started(number); });
}

struct LimitedRoot {
    lagoon::Pool<Resource> pool{"pool",
                                {.capacity = 1,
                                 .on_death = lagoon::OnDeath::reuse,
                                 .quarantine_after = 0,
                                 .limits = {.create = std::chrono::milliseconds{10}}}};
};

template <class Root>
void wait_and_borrow(Root& root) {
    auto lease = root.pool.acquire();
    require(static_cast<bool>(lease), "an acquire without a deadline came back empty");
    use(*lease);
}

template <class Root>
std::string wait_for_failure(Root& root) {
    try {
        if (auto lease = root.pool.acquire()) use(*lease);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return {};
}

}  // namespace

TEST_CASE("model: what is made by a thread comes to who has asked for it") {
    Scene1 scene{"making.request"};
    process_with_factory(scene, Ends::well, wait_and_borrow<Root1>);
    scene.check([](Root1& root) {
        Scene1::check_pool(root);
        require(root.pool.stats().created == 1, "it was not made once");
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: an impatient requester loses neither the resource nor the place") {
    Scene1 scene{"making.impatient"};
    process_with_factory(scene, Ends::well, [](Root1& root) {
        if (auto lease = root.pool.acquire_until(in_a_while)) use(*lease);
    });
    // Whichever it is.
    scene.thread("other", 1, make_or_take<Root1>);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: whose creation comes to nothing is told") {
    Scene1 scene{"making.told"};
    process_with_factory(scene, Ends::badly, [](Root1& root) {
        require(wait_for_failure(root) == "no more of them", "another failure");
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: whose creation comes to nothing leaves the place to another") {
    Scene1 scene{"making.fails"};
    process_with_factory(scene, Ends::badly, [](Root1& root) {
        (void)wait_for_failure(root);  // or it had what the other one made
    });
    scene.thread("other", 1, [](Root1& root) {
        auto lease = root.pool.acquire_or_create([] { return Resource{7, 7}; });
        require(static_cast<bool>(lease), "neither a resource nor a place");
        use(*lease);
    });
    scene.check([](Root1& root) {
        Scene1::check_pool(root);
        require(calls <= 1, "another one is asked for where one has failed");
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a return ends the wait of who has asked for another one") {
    PoolScene<2> scene{"making.return"};
    scene.idle(1).holder("holder", 1);
    process_with_factory(scene, Ends::well, wait_and_borrow<PoolRoot<2>>, 1);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: the next one of the process waits for what nobody waits for any more") {
    Scene1 scene{"making.adopted"};
    process_with_factory(scene, Ends::well, [](Root1& root) {
        if (auto lease = root.pool.acquire_until(in_a_while)) use(*lease);
    });
    scene.thread("next", 0, wait_and_borrow<Root1>);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a process that dies while it makes one keeps nobody waiting") {
    Scene1 scene{"making.dies"};
    process_with_factory(scene, Ends::well, wait_and_borrow<Root1>);
    scene.thread("other", 1, [](Root1& root) {
        auto lease = root.pool.acquire_or_create([] { return Resource{7, 7}; });
        require(static_cast<bool>(lease), "neither a resource nor a place");
        Scene1::borrow(lease);
    });
    scene.mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: what is made too late is not waited for") {
    using LateScene = PoolScene<1, LimitedRoot>;
    LateScene scene{"making.late"};
    process_with_factory(scene, Ends::late, [](LimitedRoot& root) {
        // Modelled time may stand still at the limit itself, which is not too late.
        const auto lease = root.pool.acquire();
        if (!lease) require(lease.phase() == lagoon::Phase::creating, "another phase");
    });
    look_everywhere(scene.program(), 2);
}
