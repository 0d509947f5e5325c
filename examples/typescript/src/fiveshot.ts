// The connection: the services of the API over gRPC, with the key in a header, and calls that are made again where
// nothing can have happened.

import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { DatasetService } from "./gen/fiveshot/dataset/v1/dataset_service_pb.js";
import { RegistryService } from "./gen/fiveshot/registry/v1/registry_service_pb.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { TrainingService } from "./gen/fiveshot/trainer/v1/training_service_pb.js";

export type Fiveshot = ReturnType<typeof connect>;

/** The clients of a server, `127.0.0.1:7437` or `https://…`, by default the one that the environment names. */
export function connect(server = process.env.FIVESHOT_SERVER ?? "127.0.0.1:7437", key = process.env.FIVESHOT_API_KEY) {
  const withKey: Interceptor = (next) => (request) => {
    if (key) request.header.set("x-api-key", key);
    return next(request);
  };
  const transport = createGrpcTransport({
    baseUrl: server.includes("://") ? server : `http://${server}`,
    interceptors: [withKey],
  });
  return {
    datasets: createClient(DatasetService, transport),
    training: createClient(TrainingService, transport),
    models: createClient(RegistryService, transport),
  };
}

/** Whether the line broke, or the server is away for a moment: the call itself was not refused. */
export function isOutage(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  // A stream that is cut ends as one or the other, by who notices first.
  return [Code.Unavailable, Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown].includes(code);
}

/** What to tell a person of an error: what happened, and what to do about it. */
export function explained(error: unknown): string {
  const failure = ConnectError.from(error);
  const [info] = failure.findDetails(ErrorInfoSchema);
  const remedy = info?.metadata.remedy ? ` ${info.metadata.remedy}` : "";
  return `${failure.rawMessage}${remedy} [${info?.reason ?? Code[failure.code]}]`;
}
