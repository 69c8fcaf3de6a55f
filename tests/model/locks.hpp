// locks.hpp: scenes about a lock, and the data that it protects.
#pragma once

#include <lagoon/array.hpp>
#include <lagoon/lock.hpp>

#include "pools.hpp"

namespace model {

struct LockRoot {
    lagoon::Lock lock{"lock"};
    lagoon::Array<Resource> data{"data", 1};
};

class LockScene : public Scene<LockRoot> {
public:
    explicit LockScene(std::string name, MachineOptions options = {})
        : Scene{std::move(name), std::move(options)} {
        check([](LockRoot& root) {
            detail::repair_the_dead(*detail::attachment_of(&root));
            require(!root.lock.is_locked(), "the lock is locked by nobody");
            work(root, root.lock.lock());
            root.lock.unlock();
        });
    }
    LockScene& thread(std::string name, int process, std::function<void(LockRoot&)> code) {
        actor(std::move(name), process, std::move(code),
              [](LockRoot& root) { (void)detail::lane_of(&root.lock); });
        return *this;
    }
    /// Locks it, works, unlocks.
    LockScene& locker(std::string name, int process, int times = 1) {
        return thread(std::move(name), process, [times](LockRoot& root) {
            for (int i = 0; i < times; ++i) {
                work(root, root.lock.lock());
                root.lock.unlock();
            }
        });
    }
    LockScene& reaper(std::string name, int process) {
        return thread(std::move(name), process, [](LockRoot& root) {
            detail::repair_the_dead(*detail::attachment_of(&root));
        });
    }
    static void work(LockRoot& root, const lagoon::Locked& locked) {
        require(static_cast<bool>(locked), "a lock without a deadline came back empty");
        Resource& data = root.data.at(0);
        if (!locked.owner_died()) return use(data);
        use_recovered(data);
        root.lock.mark_clean();
    }
};

}  // namespace model
