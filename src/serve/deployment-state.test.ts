import { describe, expect, it } from "vitest";

import { DeploymentState, type ObservedDeployment } from "./deployment-state.ts";

const seen = (state: DeploymentState) => [state.status, state.trigger, state.message];
const pool = (target: number, running = target, more: Partial<ObservedDeployment> = {}) => ({
  target,
  running,
  well: running,
  changing: 0,
  ...more,
});

/** Deployed, with two replicas. */
function deployed(): DeploymentState {
  const state = new DeploymentState();
  state.observe(pool(2));
  return state;
}

describe("DeploymentState", () => {
  it("updates until as many run as should, and none comes or goes", () => {
    const state = new DeploymentState();
    expect(seen(state)).toEqual(["UPDATING", "CONFIG_UPDATE_STARTED", ""]);
    state.observe(pool(2, 1));
    state.observe(pool(2, 2, { changing: 1 }));
    expect(state.status).toBe("UPDATING");
    state.observe(pool(2));
    expect(seen(state)).toEqual(["HEALTHY", "CONFIG_UPDATE_COMPLETED", ""]);
  });

  it("says how it scales, and when it has", () => {
    const state = deployed();
    state.autoscaled(4, 2, true);
    expect(seen(state)).toEqual(["UPSCALING", "AUTOSCALING", "Upscaling from 2 to 4 replicas."]);
    state.observe(pool(4, 3));
    expect(state.status).toBe("UPSCALING");
    // Wanted differently while it still starts.
    state.autoscaled(3, 4, true);
    expect(seen(state)).toEqual(["DOWNSCALING", "AUTOSCALING", "Downscaling from 4 to 3 replicas."]);
    state.observe(pool(3, 3, { changing: 1 }));
    expect(state.status).toBe("DOWNSCALING");
    state.observe(pool(3));
    expect(seen(state)).toEqual(["HEALTHY", "DOWNSCALE_COMPLETED", ""]);
    state.autoscaled(4, 3, true);
    state.observe(pool(4));
    expect(seen(state)).toEqual(["HEALTHY", "UPSCALE_COMPLETED", ""]);
  });

  it("keeps deploying when a decision comes before its replicas are within the bounds", () => {
    const state = new DeploymentState();
    state.autoscaled(3, 2, false);
    expect(state.status).toBe("UPDATING");
    state.observe(pool(3));
    expect(state.trigger).toBe("CONFIG_UPDATE_COMPLETED");
  });

  it("is unhealthy while none of its replicas is well, whatever was decided, and comes back by itself", () => {
    const state = deployed();
    state.observe(pool(2, 2, { well: 1 }));
    expect(state.status).toBe("HEALTHY");
    state.observe(pool(2, 2, { well: 0 }));
    const unhealthy = ["UNHEALTHY", "HEALTH_CHECK_FAILED", "No healthy replica."];
    expect(seen(state)).toEqual(unhealthy);
    state.autoscaled(3, 2, true);
    expect(seen(state)).toEqual(unhealthy);
    state.observe(pool(3));
    expect(seen(state)).toEqual(["HEALTHY", "UNSPECIFIED", ""]);
  });

  it("failed to deploy when none was ever well", () => {
    const state = new DeploymentState();
    state.observe(pool(2, 1, { well: 0 }));
    state.observe(pool(2, 2, { well: 0 }));
    expect(seen(state)).toEqual(["DEPLOY_FAILED", "HEALTH_CHECK_FAILED", "No healthy replica."]);
    state.autoscaled(3, 2, true);
    expect(state.status).toBe("DEPLOY_FAILED");
    state.observe(pool(2));
    expect(state.status).toBe("HEALTHY");
  });

  it("is healthy with no replica when none should run", () => {
    const state = new DeploymentState();
    state.observe(pool(0));
    expect(state.status).toBe("HEALTHY");
  });
});
