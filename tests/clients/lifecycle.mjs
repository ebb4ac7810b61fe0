// A face's whole life through the AWS SDK for JavaScript: ENDPOINT is served, ANN and GROUP are
// image files. Prints what came back as one line of JSON.
import { readFileSync } from "node:fs";
import {
  CreateCollectionCommand,
  DeleteCollectionCommand,
  DeleteFacesCommand,
  DescribeCollectionCommand,
  IndexFacesCommand,
  ListCollectionsCommand,
  ListFacesCommand,
  RekognitionClient,
  SearchFacesByImageCommand,
} from "@aws-sdk/client-rekognition";

const CollectionId = "javascript";
const client = new RekognitionClient({ endpoint: process.env.ENDPOINT, maxAttempts: 1 });
const image = (name) => ({ Bytes: readFileSync(process.env[name]) });

async function life() {
  const created = await client.send(new CreateCollectionCommand({ CollectionId }));
  const listed = await client.send(new ListCollectionsCommand({}));
  const indexed = await client.send(
    new IndexFacesCommand({ CollectionId, Image: image("GROUP"), ExternalImageId: "group" }),
  );
  const described = await client.send(new DescribeCollectionCommand({ CollectionId }));
  const found = await client.send(
    new SearchFacesByImageCommand({ CollectionId, Image: image("ANN"), MaxFaces: 1 }),
  );
  const FaceIds = (await client.send(new ListFacesCommand({ CollectionId }))).Faces.map(
    (face) => face.FaceId,
  );
  const deleted = await client.send(new DeleteFacesCommand({ CollectionId, FaceIds }));
  await client.send(new DeleteCollectionCommand({ CollectionId }));
  return {
    arn: created.CollectionArn,
    collections: listed.CollectionIds,
    indexed: indexed.FaceRecords.map((record) => record.Face.FaceId),
    year: described.CreationTimestamp.getUTCFullYear(),
    found: found.FaceMatches.map((match) => match.Face.FaceId),
    deleted: deleted.DeletedFaces,
  };
}

try {
  console.log(JSON.stringify(await life()));
} catch (error) {
  console.log(JSON.stringify({ error: error.name, status: error.$metadata?.httpStatusCode }));
}
