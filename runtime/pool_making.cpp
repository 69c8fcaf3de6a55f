// pool_making.cpp: resources that are made by threads of their own, for those who wait.
//
// Whoever asks has claimed the place, in the name of the process's lane, before the thread is
// there: BUILDING(process) is all that others know of it. What the process knows beside is a list
// under its mutex, from which the last of two takes an entry: the thread, or who asked.
//
//   killed                              leaves
//   anywhere                            BUILDING(dead), as from any builder (pool_maintain.cpp)
//
// A thread that is not to be had: the factory runs in its caller.
#include "pool_making.hpp"

#include <time.h>

#include <utility>

#include <lagoon/error.hpp>

#include "pool_body.hpp"
#include "pool_creation.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

/// One resource that is being made. Under the process lock, but for what is written once.
struct Making {
    enum class Stage : std::uint32_t { pending, at_work, made, failed, late, withdrawn };

    PoolObject& pool;
    PoolPrivate& own;
    Attachment& attachment;
    Taken place;
    Deadline until;
    Stage stage = Stage::pending;
    bool wanted = true;  // somebody waits for it
    std::exception_ptr error = {};
    Making* next = nullptr;
};

namespace {

using Stage = Making::Stage;

bool is_under_way(const Making& making) noexcept {
    return making.stage == Stage::pending || making.stage == Stage::at_work;
}

// Each under the process lock.
Making*& makings_of(PoolPrivate& own) noexcept {
    // In a forked child they are the parent's.
    if (std::exchange(own.makings_epoch, process_epoch()) != process_epoch()) own.makings = nullptr;
    return own.makings;
}
void unlink(Making& making) noexcept {
    Making** link = &makings_of(making.own);
    while (*link != &making) link = &(*link)->next;
    *link = making.next;
}

/// What it takes of this pool asks for nothing in turn.
class InHook {
public:
    explicit InHook(PoolCache& cache) noexcept
        : cache_{cache}, before_{std::exchange(cache.settling, true)} {}
    ~InHook() { cache_.settling = before_; }
    InHook(const InHook&) = delete;
    InHook& operator=(const InHook&) = delete;

private:
    PoolCache& cache_;
    bool before_;
};

void run_factory(Making& making) {
    Outcome why = Outcome::closed;
    PoolCache* cache = cache_or(making.pool, &why);
    if (cache == nullptr) {
        throw Error{Errc::system, name_of_pool(making.pool) +
                                      ": the thread that was to make a resource found no place "
                                      "among the arena's"};
    }
    const InHook in_hook{*cache};
    run_factory(making.own.hooks, body_of(making.pool), making.place.index, making.until);
}

/// Fills the place. In a forked child an exception has nowhere to go.
Stage fill(Making& making) noexcept {
    const std::uint64_t epoch = process_epoch();
    try {
        run_factory(making);
    } catch (...) {
        require_own_build(epoch);
        making.error = std::current_exception();
    }
    if (making.error != nullptr) {
        pool_fail_build(making.pool, making.place);
        return Stage::failed;
    }
    try {
        const Taken made =
            pool_finish_build(making.pool, making.place, Built::to_share, making.until);
        return made.word != 0 ? Stage::made : Stage::late;
    } catch (...) {
        require_own_build(epoch);
        making.error = std::current_exception();
        return Stage::failed;
    }
}

/// Is it still asked for?
bool begin(Making& making) noexcept {
    const ProcessLock lock;
    if (making.stage == Stage::withdrawn) return false;
    making.stage = Stage::at_work;
    return true;
}

/// False when nobody waits for it: it is the caller's to end.
bool tell(Making& making, Stage ended) noexcept {
    const ProcessLock lock;
    making.stage = ended;
    return making.wanted;
}

void end(Making& making) noexcept {
    {
        const ProcessLock lock;
        unlink(making);
    }
    delete &making;
}

void run(Making& making) noexcept {
    PoolObject& pool = making.pool;
    if (begin(making) && tell(making, fill(making))) {
        // Who waits for it looks; from here on it is that one's.
        wake_everybody(pool);
    } else {
        end(making);
    }
}

void* run_thread(void* argument) {
    auto& making = *static_cast<Making*>(argument);
    Attachment& attachment = making.attachment;
    run(making);
    // X8 release RMW -> X7: nothing of the mapping is touched by this thread after it. kept: as X6.
    attachment.makers.fetch_sub(1, std::memory_order_release);
    return nullptr;
}

}  // namespace

Deadline CreationRequest::late_at() const noexcept {
    return making_ != nullptr ? making_->until : for_ever;
}

bool CreationRequest::adopt() noexcept {
    const ProcessLock lock;
    for (Making* one = makings_of(own_); one != nullptr; one = one->next) {
        if (one->wanted || !detail::is_under_way(*one) || is_past(one->until)) continue;
        one->wanted = true;
        making_ = one;
        return true;
    }
    return false;
}

bool CreationRequest::start(Taken place) noexcept {
    Attachment& attachment = *attachment_of(&pool_);
    try {
        making_ = new Making{pool_, own_, attachment, place, pool_create_until(pool_)};
    } catch (...) {
        error_ = std::current_exception();
        pool_fail_build(pool_, place);
        return true;
    }
    {
        const ProcessLock lock;
        Making*& first = makings_of(own_);
        making_->next = std::exchange(first, making_);
    }
    // X9 relaxed RMW, no pair: as X4; we count among those who sleep, too. kept: torn, one more
    // or less is at work for who closes the arena; no scene closes it.
    attachment.makers.fetch_add(1, std::memory_order_relaxed);
    return os::start_thread(&run_thread, making_);
}

void CreationRequest::run_here() noexcept { (void)run_thread(making_); }

CreationRequest::Ended CreationRequest::look() noexcept {
    if (error_ != nullptr) return Ended::failed;
    if (making_ == nullptr) return Ended::no;
    Stage stage = Stage::pending;
    {
        const ProcessLock lock;
        stage = making_->stage;
        if (stage == Stage::failed) error_ = making_->error;
    }
    const bool late = stage == Stage::late || (making_->until != for_ever &&
                                               std::chrono::steady_clock::now() >= making_->until);
    if (stage != Stage::pending && stage != Stage::at_work) leave();
    if (stage == Stage::failed) return Ended::failed;
    return late && stage != Stage::made ? Ended::late : Ended::no;
}

void CreationRequest::leave() noexcept {
    if (making_ == nullptr || !is_epoch_of_process(epoch_)) return;
    Making* making = std::exchange(making_, nullptr);
    const Taken place = making->place;
    // A turn that was taken after a failure is not given back, so that one is run all the same.
    const bool may_withdraw = body_of(pool_).creation.retry_after_ns == 0;
    Stage stage = Stage::pending;
    {
        const ProcessLock lock;
        making->wanted = false;
        if (making->stage == Stage::pending && may_withdraw) making->stage = Stage::withdrawn;
        stage = making->stage;
    }
    if (stage == Stage::withdrawn) return make_empty(pool_, place.index, place.word);
    if (stage != Stage::pending && stage != Stage::at_work) end(*making);
}

std::uint32_t makers_of(const Attachment& attachment) noexcept {
    // X7 acquire load <- X8. kept: as X5.
    return attachment.makers.load(std::memory_order_acquire);
}

namespace {

bool is_one_at_work(Attachment& attachment) noexcept {
    const ProcessLock lock;
    for (const auto& [offset, own] : attachment.pools) {
        if (own == nullptr) continue;  // there was no memory for it
        for (Making* one = makings_of(*own); one != nullptr; one = one->next) {
            const std::uint64_t word = truth_of(body_of(one->pool), one->place.index);
            if (detail::is_under_way(*one) && word == one->place.word) return true;
        }
    }
    return false;
}

}  // namespace

void await_makers(Attachment& attachment) noexcept {
    // One may be in a destroy, which may be what calls us.
    const Deadline end = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (makers_of(attachment) != 0 && !is_one_at_work(attachment) &&
           std::chrono::steady_clock::now() < end) {
        constexpr timespec moment{0, 100'000};
        ::nanosleep(&moment, nullptr);
    }
}

}  // namespace lagoon::inline v1::detail
