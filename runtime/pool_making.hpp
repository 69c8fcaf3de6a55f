// pool_making.hpp: resources that are made by threads of their own, for those who wait.
#pragma once

#include <exception>

#include "attachment.hpp"

namespace lagoon::inline v1::detail {

/// What one acquisition has asked this process's factory for.
class CreationRequest {
public:
    explicit CreationRequest(PoolObject& pool, PoolPrivate& own) noexcept
        : pool_{pool}, own_{own} {}
    ~CreationRequest() { leave(); }
    CreationRequest(const CreationRequest&) = delete;
    CreationRequest& operator=(const CreationRequest&) = delete;

    /// Has this process a factory?
    [[nodiscard]] bool is_possible() const noexcept { return own_.hooks.factory != nullptr; }
    [[nodiscard]] bool is_under_way() const noexcept { return making_ != nullptr; }
    /// When a creation that is under way is late.
    [[nodiscard]] Deadline late_at() const noexcept;

    /// One that is under way, and whose requester has left, is this one's.
    bool adopt() noexcept;
    /// In a place that the caller has claimed for the process's lane, and has the turn for. False
    /// where no thread is to be had: then it has to be run here.
    [[nodiscard]] bool start(Taken place) noexcept;
    void run_here() noexcept;

    /// Has it come to nothing? One that has ended otherwise is under way no more: what it made may
    /// be idle, or somebody else's by now.
    enum class Ended { no, failed, late };
    [[nodiscard]] Ended look() noexcept;
    /// Of one that has failed.
    [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }
    /// Whoever asked waits no more: what is at work goes on, what has not begun is not run. Before
    /// the wait is over, or the arena could be closed under it.
    void leave() noexcept;

private:
    PoolObject& pool_;
    PoolPrivate& own_;
    std::uint64_t epoch_ = process_epoch();
    Making* making_ = nullptr;
    std::exception_ptr error_;
};

/// Threads of this process that make something for a pool of the arena.
[[nodiscard]] std::uint32_t makers_of(const Attachment& attachment) noexcept;
/// Those that are past their factories are waited for, 10 s at the most, unless one is at work.
void await_makers(Attachment& attachment) noexcept;

}  // namespace lagoon::inline v1::detail
