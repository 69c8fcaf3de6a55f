// creation_test.cpp: how many factories are at work, and who tries again, by every schedule within
// the bounds.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"
#include "runtime/pool_creation.hpp"

using namespace model;
using namespace std::chrono_literals;

namespace {

struct OneAtOnceRoot {
    lagoon::Pool<Resource> pool{"pool",
                                {.capacity = 2,
                                 .on_death = lagoon::OnDeath::reuse,
                                 .quarantine_after = 0,
                                 .creation = {.at_once = 1}}};
    /// The actor that is in its factory, plus one; a dead one may stay in it.
    lagoon::Value<int> at_work{"at_work", 0};
};
using OneAtOnceScene = PoolScene<2, OneAtOnceRoot>;

/// Waits for a resource or for its turn to make one.
void maker(OneAtOnceScene& scene, const char* name, int actor) {
    scene.thread(name, actor, [actor](OneAtOnceRoot& root) {
        auto lease = root.pool.acquire_or_create([&] {
            const int other = root.at_work.exchange(actor + 1);
            require(other == 0 || is_killed(other - 1), "two factories are at work");
            root.at_work.store(0);
            return Resource{0, 0};
        });
        require(static_cast<bool>(lease), "an acquire without a deadline came back empty");
        OneAtOnceScene::borrow(lease);
    });
}

struct RetryRoot {
    lagoon::Pool<Resource> pool{"pool", {.capacity = 2, .creation = {.retry_after = 1h}}};
    lagoon::Pool<Resource> none{"none", {.capacity = 1}};
    lagoon::Value<int> tried{"tried", 0};
};
using RetryScene = PoolScene<2, RetryRoot>;

struct LateRoot {
    lagoon::Pool<Resource> pool{"pool",
                                {.capacity = 1,
                                 .on_death = lagoon::OnDeath::reuse,
                                 .quarantine_after = 0,
                                 .creation = {.at_once = 1},
                                 .limits = {.create = 1ns}}};
    lagoon::Pool<Resource> none{"none", {.capacity = 1}};
};
using LateScene = PoolScene<1, LateRoot>;

}  // namespace

TEST_CASE("model: one factory is at work at a time, and who waits has its turn") {
    OneAtOnceScene scene{"creation.turns"};
    maker(scene, "a", 0);
    maker(scene, "b", 1);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: whoever sees a turn sees that its slot is being filled") {
    OneAtOnceScene scene{"creation.seen"};
    // Straight from the place to the turn: nothing else tells of the other's slot.
    const auto begin = [](int actor) {
        return [actor](OneAtOnceRoot& root) {
            detail::PoolObject& pool = OneAtOnceScene::pool_of(root);
            detail::PoolBody& body = detail::body_of(pool);
            const detail::Taken place =
                detail::take_empty(body, detail::cache_of(pool).lane, detail::Effort::hints);
            require(place.word != 0, "there is no place");
            if (detail::take_turn(body, place) == detail::Turn::mine) {
                require(root.at_work.exchange(actor + 1) == 0, "two factories are at work");
                root.at_work.store(0);
            }
            detail::make_empty(pool, place.index, place.word);
        };
    };
    scene.thread("a", 0, begin(0)).thread("b", 1, begin(1));
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: three who want to make one, of which there is place for two") {
    OneAtOnceScene scene{"creation.three"};
    maker(scene, "a", 0);
    maker(scene, "b", 1);
    maker(scene, "c", 2);
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: who dies at work keeps nobody from making one") {
    OneAtOnceScene scene{"creation.dies"};
    maker(scene, "a", 0);
    maker(scene, "b", 1);
    scene.mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: one of those who come when it is time tries again") {
    RetryScene scene{"creation.retry"};
    scene.arranged([](RetryRoot& root) {
        auto& making = detail::body_of(RetryScene::pool_of(root)).making;
        making.failures.store(1, std::memory_order_relaxed);
        making.retry_ns.store(1, std::memory_order_relaxed);
    });
    // Modelled time stands still until a sleep is over.
    scene.thread("clock", 2, [](RetryRoot& root) {
        (void)root.none.acquire_until(std::chrono::steady_clock::time_point{10ms});
    });
    const auto take = [](RetryRoot& root) {
        await([] { return now() != 0; });
        detail::PoolBody& body = detail::body_of(RetryScene::pool_of(root));
        if (detail::take_turn(body, {1, 0}) == detail::Turn::mine) {
            require(root.tried.fetch_add(1) == 0, "two try again");
        }
    };
    scene.thread("a", 0, take).thread("b", 1, take);
    scene.check([](RetryRoot& root) { require(root.tried.load() == 1, "nobody tries again"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: who makes one too late gives its place and its turn to who waits") {
    LateScene scene{"creation.late"};
    // Modelled time stands still until a sleep is over, and goes on once.
    scene.thread("clock", 2, [](LateRoot& root) { (void)root.none.acquire_until(in_a_while); });
    scene.thread("late", 0, [](LateRoot& root) {
        const bool before = now() == 0;
        const auto lease = root.pool.acquire_or_create([](Resource& made) {
            made = {7, 7};
            await([] { return now() != 0; });
        });
        require(lease || before, "it was made in time and is not lent");
        if (!lease) require(lease.phase() == lagoon::Phase::creating, "another phase");
    });
    scene.thread("b", 1, [](LateRoot& root) {
        await([] { return now() != 0; });
        make_or_take(root);
    });
    look_everywhere(scene.program(), 2);
}
