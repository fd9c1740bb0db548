/** The YAML of the documentation that this library was written for, to the byte. */
export const seedYaml = `applications:
  - name: llm_pd_app
    route_prefix: /
    import_path: ray.serve.llm:build_pd_openai_app
    args:
      prefill_config:
        model_loading_config:
          model_id: llama-8b
          model_source: meta-llama/Llama-3.1-8B-Instruct
        accelerator_type: A100
        deployment_config:
          autoscaling_config:
            min_replicas: 1
            max_replicas: 2
        engine_kwargs:
          tensor_parallel_size: 2
          kv_transfer_config:
            kv_connector: NixlConnector
            kv_role: kv_both
      decode_config:
        model_loading_config:
          model_id: llama-8b
          model_source: meta-llama/Llama-3.1-8B-Instruct
        accelerator_type: A100
        deployment_config:
          autoscaling_config:
            min_replicas: 2
            max_replicas: 8
        engine_kwargs:
          gpu_memory_utilization: 0.95
          kv_transfer_config:
            kv_connector: NixlConnector
            kv_role: kv_both
`;
